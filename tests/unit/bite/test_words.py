"""The tables: what they say, and that they fit."""

from __future__ import annotations

from pytest_trt.bite.records import OURS, PairRow, ProblemRow, SuiteRow, bits_of
from pytest_trt.bite.score import score_pairs
from pytest_trt.bite.words import WIDTH, pair_lines, suite_lines, table
from pytest_trt.records import BATTERIES

KINDS = bits_of(BATTERIES["default"])


def test_columns_are_aligned():
    assert table(["name", "n"], [["a", "10"], ["long", "9"]], right=(1,)) == [
        "name   n",
        "--------",
        "a     10",
        "long   9",
    ]


def test_pair_score_in_words():
    row = ProblemRow(
        "fp32",
        "fp32 conv " + "x" * 120 + " [0:0]",
        KINDS,
        honest=9,
        named=["plain on big: text"],
        broken=["b"],
    )
    row.pairs = [
        PairRow("last_input_channel_dropped", KINDS, {OURS: KINDS}),
        PairRow("last_batch_row_stale", KINDS),
    ]
    lines = pair_lines(score_pairs([row], "default", [OURS, "np.allclose"]))
    text = "\n".join(lines)
    assert lines[0].startswith(
        "pair score 0.5000 (95 % interval 0.0945 to 0.9055) on the default battery: 1 of 2"
    )
    assert "false alarms 0 of 9 outputs of correct kernels (95 % upper limit 2.8e-01)" in text
    assert "survivors: 1" in text and "  last_batch_row_stale: 1 of 1" in text
    assert "correct outputs refused: 1\n  plain on big: text" in text and "raised: 1\n  b" in text
    for name in ("quick", "default", "reduction", "memory", "fp32", "np.allclose"):
        assert f"\n{name} " in text
    assert max(map(len, lines[3:])) <= WIDTH


def test_no_survivors():
    row = ProblemRow("fp32", "text", KINDS, [PairRow("last_batch_row_stale", KINDS, {OURS: KINDS})], 1)
    assert pair_lines(score_pairs([row], "default", [OURS]))[-1] == "no survivors"


def test_suites_in_words():
    rows = [
        SuiteRow(
            "bias_omitted",
            "epilogue",
            ["M18"],
            ["fp32"],
            "caught",
            ["interval"],
            "test_x.py::test_conv[fp32]",
            12,
        ),
        SuiteRow("quiet", "memory", ["M21"], ["fp32"], "survived"),
        SuiteRow("excused", "memory", [], ["fp32"], "survived"),
        SuiteRow("fp8_only", "precision", [], [], "not applicable"),
        SuiteRow("no_run", "memory", [], ["fp32"], "broken", note="usage: pytest"),
        SuiteRow("order", "honest", ["M33"], ["fp32"], "passed"),
        SuiteRow("other", "honest", ["M33"], ["fp32"], "refused", ["interval"], "test_x.py::test_conv[fp32]"),
    ]
    lines = suite_lines(rows, {"excused": "the contract allows it"})
    text = "\n".join(lines)
    assert lines[0] == "suites: 1 of 4 faults caught"
    assert "bias_omitted  epilogue   interval        test_conv[fp32]        12" in lines
    assert "survived: quiet: no excuse" in lines
    assert "survived: excused: the contract allows it" in lines
    assert "broken: no_run: usage: pytest" in lines
    assert "correct kernels: 1 of 2 pass the suites" in text and "  other: refused" in text
    assert max(map(len, lines)) <= WIDTH


def test_the_longest_names_leave_room_for_the_examples():
    long = SuiteRow(
        "f" * 60,
        "concurrency",
        ["M24"] * 9,
        ["fp32"],
        "caught",
        ["check " * 9],
        f"test_x.py::{'t' * 60}",
        99999,
    )
    lines = suite_lines([long])
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.endswith(" 99999") for line in lines) == 1
