"""A measurement goes through JSON unchanged; other files are refused in words."""

from __future__ import annotations

import pytest

from pytest_trt.bite.files import Measurement, read, write
from pytest_trt.bite.records import PairRow, ProblemRow, SuiteRow
from pytest_trt.errors import UsageError


def test_round_trip(tmp_path):
    problem = ProblemRow(
        "fp16", "fp16 conv", 5, [PairRow("a", 4, {"ours": 4})], 3, {"b": 1}, {"b": 4}, ["n"], ["x"], 0.5
    )
    suite = SuiteRow("a", "memory", ["M01"], ["fp32"], "caught", ["interval"], "test_conv[fp32]", 7, 1.5)
    made = Measurement({"seed": 0}, [problem], [suite], ["too low"])
    write(made, tmp_path / "bite.json")
    assert read(tmp_path / "bite.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["bite.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "holds no measurement"),
        ("{}", "holds no measurement"),
        ('{"schema": 99}', "has schema 99"),
        ("[]", "holds no"),
    ],
)
def test_other_files_are_refused(tmp_path, text, words):
    path = tmp_path / "bite.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read(path)
