"""What an upgrade changed, as one document, one page and sections."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pytest_trt.errors import GoldenError
from pytest_trt.golden.book import Entry
from pytest_trt.golden.built import compare_builds
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BUILD, DRIFT, MISSING, OUTPUTS, Comparison, Golden
from pytest_trt.golden.upgrade import Change, find_stale, make_report
from pytest_trt.golden.upgrade_words import make_sections, render_markdown
from pytest_trt.report.sections import make_section

OLD, NEW = "tensorrt-10.13.3.9", "tensorrt-10.16.1.11"
LAYERS = [{"name": "conv", "kind": "gemm", "types": "fp16 > fp16", "tactic": "a"}]
FACTS = {
    "outcome": "built",
    "words": [],
    "model": "m",
    "layers": LAYERS,
    "types": {"fp16": 1},
    "plan_bytes": 1000,
    "device_memory_bytes": 4096,
    "build_seconds": 1.5,
    "calibration": None,
    "timing_cache": {"bytes": 9, "sha256": "a" * 64},
}
REFUSED = {"outcome": "refused", "words": ["Error 10: no implementation for operation 'conv'"], "model": "m"}


def golden(case, product, facts, **place):
    key = Key(case, "fp16", "t4", product)
    return Golden(key, BUILD, facts=facts, provenance={"plays": product, "gpu_class": "t4", **place})


def change(case, then, now, *, new=NEW):
    old, today = golden(case, OLD, then, driver="550.54"), golden(case, new, now, driver="570.86")
    return Change.of(Entry(compare_builds(old, today)), old, today)


def changes():
    table = {"calibration": "TRT-101303-EntropyCalibration2"}
    newer = {"calibration": "TRT-101601-EntropyCalibration2"}
    parser = {"outcome": "built", "supported": {"Conv": True, "Unique": False, "Relu": True}}
    return [
        change("same", FACTS, FACTS),
        change("lost", FACTS, REFUSED),
        change("gained", REFUSED, FACTS),
        change("wider", FACTS, {**FACTS, "types": {"fp32": 1}, "plan_bytes": 3000, "build_seconds": 0.5}),
        change("tactic", FACTS, {**FACTS, "layers": [{**LAYERS[0], "tactic": "b"}]}),
        change(
            "table", {**FACTS, **table}, {**FACTS, **newer, "timing_cache": {"bytes": 9, "sha256": "b" * 64}}
        ),
        change("parser", parser, {**parser, "supported": {"Conv": True, "Unique": True, "Relu": False}}),
    ]


@pytest.fixture(scope="module")
def report():
    return make_report(changes())


def test_every_case_has_its_class_and_the_worst_comes_first(report):
    assert [(case["class"], case["case"]) for case in report["cases"]] == [
        ("regression", "lost"),
        ("regression", "parser"),
        ("drift", "wider"),
        ("benign", "gained"),
        ("benign", "tactic"),
        ("identical", "same"),
        ("identical", "table"),
    ]
    assert report["counts"] == {"regression": 2, "drift": 1, "benign": 2, "identical": 2}
    assert (report["from"], report["to"]) == ([OLD], [NEW])


def test_versions_gpu_and_driver_of_both_sides_are_told(report):
    assert ["TensorRT", OLD, NEW] in report["place"]
    assert ["driver", "550.54", "570.86"] in report["place"]
    assert ["GPU class", "t4", "t4"] in report["place"]
    assert ["GPU", "none: builds alone", "none: builds alone"] in report["place"]


def test_support_that_was_gained_and_lost_is_told_with_the_words(report):
    assert [case["case"] for case in report["support"]["lost"]] == ["lost"]
    assert [case["case"] for case in report["support"]["gained"]] == ["gained"]
    assert report["support"]["lost"][0]["words"] == REFUSED["words"][0]
    assert report["operators"] == {"gained": ["Unique"], "lost": ["Relu"]}


def test_layers_sizes_and_times_are_told(report):
    assert [row["case"] for row in report["layers"]] == ["wider", "tactic"]
    assert report["layers"][1]["changes"] == ["layer 'conv': tactic 'a' to 'b'"]
    plan = next(row for row in report["sizes"] if row["name"] == "plan_bytes")
    assert plan == {
        "name": "plan_bytes",
        "cases": 4,
        "then": 4000,
        "now": 6000,
        "grew": 1,
        "shrank": 0,
        "most": 3.0,
    }
    assert {row["name"] for row in report["sizes"]} == {"plan_bytes", "device_memory_bytes", "build_seconds"}


def test_caches_that_no_longer_apply_and_digests_are_told(report):
    (stale,) = report["calibration"]
    assert stale["header"] == "TRT-101303-EntropyCalibration2" and "10.13.3" in stale["why"]
    digests = {row["case"].split()[0]: (row["then"][0], row["now"][0]) for row in report["timing_caches"]}
    assert digests["table"] == ("a", "b") and digests["same"] == ("a", "a") and digests["lost"] == ("a", "-")


@pytest.mark.parametrize(
    ("header", "now", "version", "stale"),
    [
        ("TRT-101303-EntropyCalibration2", "TRT-101303-EntropyCalibration2", OLD, False),
        ("TRT-101303-EntropyCalibration2", "TRT-101303-EntropyCalibration2", NEW, True),
        ("TRT-101303-EntropyCalibration2", None, "tensorrt-11.4.0.106", True),
        ("no header", "TRT-101601-EntropyCalibration2", NEW, True),
        (None, "TRT-101601-EntropyCalibration2", NEW, False),
    ],
)
def test_a_table_is_stale_unless_the_version_of_today_wrote_it(header, now, version, stale):
    one = change("table", {**FACTS, "calibration": header}, {**FACTS, "calibration": now}, new=version)
    assert bool(find_stale([one])) == stale


def test_a_change_travels_as_text():
    for one in changes():
        again = Change.from_text(one.to_text())
        assert make_report([again]) == make_report([one])
        assert again.comparison == one.comparison
    for text in ("", "[]", "{}", '{"entry": 1}'):
        with pytest.raises(GoldenError):
            Change.from_text(text)


def test_the_page_says_all_of_it_in_one_page(report):
    page = render_markdown(report)
    assert page.startswith(
        f"# Upgrade: {OLD} to {NEW}\n\n**7 cases: 2 regression, 1 drift, 2 benign, 2 identical**"
    )
    for words in (
        "| TensorRT | tensorrt-10.13.3.9 | tensorrt-10.16.1.11 |",
        "## Support lost: 1 builds",
        "| Error 10: no implementation for operation '...' | lost (fp16: t4) |",
        "lost: Relu; gained: Unique.",
        "| layer 'conv': tactic 'a' to 'b' | tactic (fp16: t4) |",
        "| plan size, bytes | 4 | 4,000 | 6,000 | 1 | 0 | 3 x |",
        "## Calibration caches that no longer apply: 1",
        "| table (fp16, t4, tensorrt-10.16.1.11) | aaaaaaaaaaaaaaaa | bbbbbbbbbbbbbbbb |",
    ):
        assert words in page, words
    assert len(page.splitlines()) < 90


def test_cases_of_which_the_same_is_told_share_a_row():
    many = [change(f"case-{n}", FACTS, REFUSED) for n in range(40)]
    page = render_markdown(make_report(many))
    assert page.count("Error 10") == 2 and "case-39 (fp16: t4)" in page
    layers = [{**LAYERS[0], "name": f"conv{n}"} for n in range(9)]
    page = render_markdown(make_report([change("many", FACTS, {**FACTS, "layers": layers})]))
    assert "; and 6 more | many (fp16: t4) |" in page
    rows = [change(f"case-{n}", FACTS, {**FACTS, "layers": layers[: n % 9 + 1]}) for n in range(20)]
    rows += [
        change(f"plan-{n}", FACTS, {**FACTS, "layers": [{**LAYERS[0], "tactic": str(n)}]}) for n in range(20)
    ]
    assert "more in upgrade.json" in render_markdown(make_report(rows))


def test_sections_are_what_the_report_takes(report):
    cases, layers = [make_section(section) for section in make_sections(report)]
    assert cases["title"] == f"Upgrade: {OLD} to {NEW}" and len(cases["rows"]) == 7
    assert cases["rows"][0][:4] == ["lost", "fp16", "t4", "regression"]
    assert any(line.startswith("plan size, bytes, 4 builds: 4,000 -> 6,000") for line in cases["text"])
    assert "support lost: 1 builds; gained: 1 builds" in cases["text"]
    assert ["tactic", "fp16", "t4", "layer 'conv': tactic 'a' to 'b'"] in layers["rows"]


def test_outputs_are_told_beside_builds_and_a_golden_may_be_known_by_its_comparison_alone():
    key = Key("conv", "fp16", "t4", NEW)
    numbers = {"y": {"old_rms": 0.1, "new_rms": 0.3}}
    told = Comparison(key, key.of(OLD), OUTPUTS, DRIFT, ("drift: output 'y': the RMS error grew",), numbers)
    report = make_report([*changes(), Change(Entry(told))])
    case = next(case for case in report["cases"] if case["kind"] == OUTPUTS)
    assert case["numbers"] == numbers and case["class"] == DRIFT
    assert "the RMS error grew" in render_markdown(report)


def test_nothing_compared_is_said():
    report = make_report([])
    assert json.loads(json.dumps(report)) == report and report["cases"] == []
    assert "**0 cases: none**" in render_markdown(report)
    assert make_section(make_sections(report)[0])["rows"] == []
    missing = replace(changes()[0].entry.comparison, outcome=MISSING)
    assert make_report([Change(Entry(missing))])["counts"] == {MISSING: 1}
