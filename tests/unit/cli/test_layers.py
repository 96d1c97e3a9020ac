"""`python -m pytest_trt layers`: what a model, a plan, a JSON dump and a log tell, and the exit statuses."""

from __future__ import annotations

import json

import pytest

from pytest_trt.cli import main
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from tests.unit.precision.models import conv_relu
from tests.unit.precision.samples import SAMPLES

EMULATED = ["--runtime", "emulator", "--gpu", "a100"]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    shaped = conv_relu()
    for value in (*shaped.graph.input, *shaped.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    path.write_bytes(shaped.SerializeToString())
    return str(path)


def told(capsys):
    seen = capsys.readouterr()
    return seen.out.splitlines(), seen.err


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_model_is_built_and_held_against_its_precision(model, precision, capsys):
    assert main(["layers", model, "--precision", precision, *EMULATED]) == 0
    lines, _ = told(capsys)
    assert lines[0].endswith("built by emulator (tensorrt-10.13.3.9) for a100")
    assert lines[1].split() == ["layer", "type", "reads", "writes", "name"]
    assert any(line.split()[:3] == ["*", "Convolution", precision] for line in lines)
    assert f"{precision}: 1 of 1 working layers (100%); {precision} 1" in lines


def test_fp32_is_what_a_model_is_built_in_without_a_word(model, capsys):
    assert main(["layers", model, *EMULATED]) == 0
    assert "fp32: 1 of 1 working layers (100%); fp32 1" in told(capsys)[0]


def test_a_plan_is_loaded(tmp_path, model, capsys):
    rt = discover(Settings(runtime="emulator", gpu="a100")).executor
    path = tmp_path / "model.plan"
    path.write_bytes(build_plan(rt, BuildRequest((tmp_path / "model.onnx").read_bytes())).data)
    assert main(["layers", str(path), *EMULATED]) == 0
    lines, _ = told(capsys)
    assert lines[0].endswith("as emulator (tensorrt-10.13.3.9) loaded it")
    assert lines[-1] == "layers by type: fp32 2; reformat layers: 0"


def test_what_the_inspector_wrote_is_read_without_any_tensorrt(capsys):
    path = str(SAMPLES / "tensorrt-8.6-int8-fp16.json")
    assert main(["layers", path]) == 0
    lines, _ = told(capsys)
    assert lines[-1] == "layers by type: fp16 3, fp32 1, int8 4, tf32 1; reformat layers: 2"
    assert main(["layers", path, "--precision", "int8"]) == 1
    assert told(capsys)[0][-1] == (
        "asked for int8, which allows int8, fp32; in another type: up (fp16), head (tf32)"
    )


def test_a_permission_is_no_order(capsys):
    path = str(SAMPLES / "rtx-1.7.1-sm75-conv-int8.log")
    assert main(["layers", path, "--precision", "int8"]) == 1
    assert "0 of 1 working layers are in int8; in another type: conv_myl0_2" in told(capsys)[0]
    assert main(["layers", path, "--precision", "int8", "--weak"]) == 0
    assert told(capsys)[0][-1] == "fell back entirely: no working layer is in int8 (fp32 1)"


def test_hidden_layers_are_marked(capsys):
    path = str(SAMPLES / "tensorrt-8.6-dynamic-myelin.json")
    assert main(["layers", path, "--precision", "fp16"]) == 1
    lines, _ = told(capsys)
    assert next(line for line in lines if "Myelin" in line).split()[:3] == ["?", "Myelin", "?"]
    assert lines[-1].startswith("the layer list does not tell the type of {ForeignNode[")


def test_long_lists_are_cut_unless_all_are_asked_for(tmp_path, capsys):
    path = tmp_path / "layers.json"
    path.write_text(json.dumps({"Layers": [f"layer {number}" for number in range(45)]}))
    main(["layers", str(path)])
    assert "and 5 more: --all" in told(capsys)[0]
    main(["layers", str(path), "--all"])
    lines, _ = told(capsys)
    assert "and 5 more: --all" not in lines and any(line.endswith("layer 44") for line in lines)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("empty.json", '{"Layers": []}', "no layer is told"),
        ("other.log", "nothing of the kind", "no layer is told"),
        ("absent.onnx", None, "cannot be read"),
    ],
)
def test_wrong_use(tmp_path, capsys, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert main(["layers", str(tmp_path / name)]) == 2
    assert words in told(capsys)[1]


@pytest.mark.parametrize("name", ["a.plan", "a.onnx"])
def test_nobody_is_there_to_load_or_build(tmp_path, model, capsys, name):
    path = tmp_path / name
    path.write_bytes((tmp_path / "model.onnx").read_bytes())
    assert main(["layers", str(path), "--runtime", "off"]) == 2
    assert ("nobody loads" if name == "a.plan" else "nobody builds") in told(capsys)[1]
