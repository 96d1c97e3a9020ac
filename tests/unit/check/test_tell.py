"""The text of a failure: the verdict alone on the first line, then evidence, then the way out."""

from __future__ import annotations

from pytest_trt.check.tell import failure, summary
from pytest_trt.records import Finding, Verdict

WHOLE = Finding(
    "interval",
    "violates",
    "y",
    "uniform11",
    bad=37,
    total=12288,
    index=(0, 5, 17, 2),
    got=0.4187,
    low=0.3874,
    high=0.3884,
    want=0.3879,
    rule="Conv: fp16 inputs, fp32 accumulation",
    pattern="channels 8 to the end (of 12); the tail behind the last multiple of 8; 0.3 % of the elements",
    note="no rung admits it (tried: direct)",
    axes=("N", "C", "H", "W"),
    sources=(("rounding to fp16", 1.22e-4), ("accumulation", 3e-7), ("arithmetic", 1e-9)),
    fits=("bias left out", "channel tail: the last, incomplete block of channels"),
)
WHERE = {"label": "conv-s7", "precision": "fp16", "gpu": "t4", "runtime": "TensorRT 10.13", "device": "cpu"}


def text(*findings):
    return str(failure(Verdict("violates", findings, provenance=WHERE), "pytest suites --trt-case=conv-s7"))


def test_a_whole_finding_is_told_in_ten_lines():
    assert text(WHOLE).splitlines() == [
        "output 'y': 37 of 12288 values (0.301 %) outside the allowance [violates: interval]",
        "  worst  off by 0.0303 at N=0, C=5, H=17, W=2 on uniform11 data: got 0.4187, want 0.3879",
        "  rule   got in [0.3874, 0.3884]: Conv: fp16 inputs, fp32 accumulation",
        "  width  rounding to fp16 0.00012, accumulation 3e-07",
        "  bad    channels 8 to the end (of 12); the tail behind the last multiple of 8; 0.3 % of the elements",
        "  fits   bias left out; or channel tail: the last, incomplete block of channels",
        "  note   no rung admits it (tried: direct)",
        "  where  conv-s7, fp16, t4, TensorRT 10.13, cpu",
        "  mend   repeat: pytest suites --trt-case=conv-s7",
    ]


def test_a_layer_is_named_with_its_tensor():
    from dataclasses import replace

    assert text(replace(WHOLE, layer="conv7")).startswith("layer 'conv7', tensor 'y': 37 of 12288")
    assert text(replace(WHOLE, layer="y")).startswith("layer 'y': 37 of 12288")


def test_what_is_not_known_is_not_told():
    from dataclasses import replace

    lines = text(replace(WHOLE, axes=(), sources=(), fits=(), note="", pattern=""))
    assert " at (0, 5, 17, 2) on " in lines
    for word in ("width", "fits", "note", "bad  "):
        assert f"  {word}" not in lines


def test_further_findings_are_one_line_each_and_then_counted():
    lines = text(*[WHOLE] * 6).splitlines()
    assert sum(line.strip().startswith("also ") for line in lines) == 4
    assert "also   2 more findings" in lines[10]


def test_a_finding_without_numbers_is_its_note():
    assert text(Finding("trust", "mistrusted", "y", note="the reference is constant")).splitlines()[0] == (
        "output 'y': the reference is constant [mistrusted: trust]"
    )


def test_a_summary_is_one_line():
    verdict = Verdict("conforms", compared=200, certified=50, unjudged={"Sin": 2})
    assert summary(verdict) == "conforms: 200 values judged, 25 % of them to the bit; without a limit: Sin x2"
