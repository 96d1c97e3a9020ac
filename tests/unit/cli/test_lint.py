"""`python -m pytest_trt lint`: table, JSON, rewrites, exit statuses."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from pytest_trt.cli import lint as command
from pytest_trt.cli import main
from pytest_trt.hardware import get
from pytest_trt.lint import rewrite
from tests.unit.lint import models


@pytest.fixture
def file(tmp_path):
    def write(model):
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return str(path)

    return write


def test_a_clean_model_is_told_and_passes(file, capsys):
    assert main(["lint", file(models.conv(64, 64)), "--gpu", "t4"]) == 0
    assert capsys.readouterr().out == "nothing found\n"


def test_findings_are_grouped_with_reason_and_way_out(file, capsys):
    assert main(["lint", file(models.conv(60, 60)), "--gpu", "t4", "--precision", "fp16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["advice", "channels-off-multiple", "(1)"]
    assert (
        lines[1]
        == "  y: Conv goes from 60 to 60 channels: fp16 pads to multiples of 8, 14 % more multiplications"
    )
    assert lines[2].startswith("    why   tensor cores of Tesla T4")
    assert lines[3] == "    mend  use 64 -> 64 channels"
    assert lines[-1] == "1 advice"


def test_many_of_a_kind_are_cut_short(file, capsys):
    nodes = [("Conv", f"{'x' if n == 0 else f'c{n}'} w", f"c{n + 1}", {"pads": [1] * 4}) for n in range(7)]
    nodes[-1] = ("Conv", "c6 w", "y", {"pads": [1] * 4})
    model = models.build(nodes, {"w": models.weight(60, 60)}, [1, 60, 8, 8])
    assert main(["lint", file(model), "--gpu", "t4", "--precision", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "channels-off-multiple  (7)" in out and "  and 2 more: --all" in out
    assert main(["lint", file(model), "--gpu", "t4", "--precision", "fp16", "--all"]) == 0
    assert "more: --all" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rule", "status", "strict"),
    [("channels-off-multiple", 0, 0), ("fp16-overflow", 0, 1), ("qdq-zero-point", 1, 1)],
)
def test_the_exit_status_follows_the_severity(rule, status, strict, file):
    given = ["lint", file(models.POSITIVE[rule]()), "--gpu", "t4"]
    assert main(given) == status
    assert main([*given, "--strict"]) == strict


def test_json_has_every_number(file, capsys):
    assert main(["lint", file(models.conv(60, 60)), "--gpu", "t4", "--precision", "int8", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["gpu"] == "t4" and facts["precisions"] == ["int8"]
    assert facts["advice"][0]["numbers"]["int8_multiple"] == 32 and "fix" not in facts


def test_fix_writes_a_model_that_is_the_same(file, tmp_path, capsys):
    out = tmp_path / "fixed.onnx"
    model = models.prelu(np.full((32, 1, 1), 0.25))
    assert main(["lint", file(model), "--gpu", "t4", "--fix", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"wrote {out}: prelu-uniform x 1; " in told and "bit-equal, largest difference 0" in told
    assert [node.op_type for node in onnx.load(str(out)).graph.node] == ["Conv", "LeakyRelu"]
    assert main(["lint", str(out), "--gpu", "t4", "--strict"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fixed.onnx", "model.onnx"]


def test_fix_with_nothing_to_do_says_so(file, tmp_path, capsys):
    out = tmp_path / "fixed.onnx"
    assert main(["lint", file(models.conv(64, 64)), "--fix", str(out), "--json"]) == 0
    fix = json.loads(capsys.readouterr().out)["fix"]
    assert fix == {"path": str(out), "changes": {}, "compared": 0, "largest_difference": 0.0} and out.exists()
    assert main(["lint", file(models.conv(64, 64)), "--fix", str(out)]) == 0
    assert "nothing to rewrite" in capsys.readouterr().out


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_fix_writes_nothing_that_differs(form, file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rewrite, "_choose", wrong_source)
    out = tmp_path / "fixed.onnx"
    model = models.build([("Relu", "x", "r"), ("Exp", "r", "e"), ("Abs", "e", "y")])
    assert main(["lint", file(model), "--fix", str(out), *form]) == 1
    told = capsys.readouterr()
    assert "computes another output 'y'" in (told.out if form else told.err)
    assert not out.exists()


def wrong_source(graph, node, scope, opset):
    return ("noop", node.input[0]) if node.op_type == "Exp" else None


def test_shapes_of_dynamic_inputs_can_be_given(file, tmp_path, capsys):
    model = models.build(
        [("Identity", "x", "i"), ("Reshape", "i n", "r"), ("MatMul", "r w", "y")],
        {"n": np.array([0, -1]), "w": models.normal(75, 4)},
        ["N", 3, "H", "W"],
    )
    given = ["lint", file(model), "--gpu", "t4", "--fix", str(tmp_path / "out.onnx")]
    assert main(given) == 1
    assert "--shape x=1x3x48x96" in capsys.readouterr().err
    assert main([*given, "--shape", "x=2x3x5x5"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpu", "a1000"], "unknown GPU class 'a1000'"),
        (["--precision", "fp17"], "no precision 'fp17'"),
        (["--precision", ","], "no precision ','"),
        (["--shape", "3x3"], "no shape '3x3'"),
        (["--shape", "x=3xb"], "no shape 'x=3xb'"),
        (["--fix", "/nowhere/at/all.onnx"], "cannot be written"),
    ],
)
def test_wrong_use_is_refused_in_words(arguments, words, file, capsys):
    assert main(["lint", file(models.conv()), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_no_model_is_wrong_use(tmp_path, capsys):
    path = tmp_path / "text.onnx"
    path.write_text("text")
    assert main(["lint", str(path)]) == 2
    assert "is not an ONNX model" in capsys.readouterr().err


def test_without_a_gpu_the_class_is_one_with_every_precision(monkeypatch):
    monkeypatch.setattr(command, "detect", lambda: ())
    assert command._gpu(None) is get(command.FALLBACK)
    assert command._precisions(None, get("sm80")) == ("fp32", "tf32", "fp16", "bf16", "int8")
    assert command._precisions(None, get("t4")) == ("fp32", "fp16", "int8")
