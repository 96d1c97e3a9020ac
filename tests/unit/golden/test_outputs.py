"""Goldens of outputs: keys, digests, provenance, and what of them holds on every machine."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from pytest_trt import hardware
from pytest_trt.errors import UsageError
from pytest_trt.golden import outputs
from pytest_trt.golden.outputs import digest_of, golden_of_outputs, name_machine, product_of, split_exact
from pytest_trt.golden.record import OUTPUTS

ORT = ".".join(onnxruntime.__version__.split(".")[:2])


def runtime(emulated=True, device="cpu"):
    return SimpleNamespace(
        emulated=emulated,
        product="emulator" if emulated else "tensorrt",
        plays="tensorrt-10.13.3.9",
        version="10.13.3.9",
        gpu=hardware.get("t4"),
        device=device,
    )


def test_products():
    assert product_of(runtime()) == f"emulator+tensorrt-10.13.3.9+ort-{ORT}"
    assert product_of(runtime(emulated=False)) == "tensorrt-10.13.3.9"


def test_what_a_golden_says_of_itself():
    y = np.arange(4, dtype=np.float16)
    made = golden_of_outputs(
        runtime(), "case", "fp16", {"y": y}, inputs={"x": y}, model="abc", facts={"seed": 1}
    )
    y[:] = 7  # the caller's array may live on
    assert made.kind == OUTPUTS and made.arrays["y"].tolist() == [0, 1, 2, 3]
    assert made.facts["model"] == "abc" and made.facts["seed"] == 1 and len(made.facts["inputs"]) == 32
    assert made.key.path == f"case/fp16/t4/emulator+tensorrt-10.13.3.9+ort-{ORT}"
    assert made.provenance["gpu_class"] == "t4" and made.provenance["version"] == "10.13.3.9"
    assert "gpu" not in made.provenance
    bare = golden_of_outputs(runtime(), "case", "fp16", {"y": y})
    assert bare.facts == {}


def test_the_gpu_and_its_driver_are_told(monkeypatch):
    gpu = SimpleNamespace(title="Tesla T4", driver="580.1")
    monkeypatch.setattr(outputs.hardware, "detect", lambda: (gpu,))
    told = golden_of_outputs(runtime(False, "cuda:0"), "case", "fp32", {"y": np.ones(1)}).provenance
    assert (told["gpu"], told["driver"]) == ("Tesla T4", "580.1")


@pytest.mark.parametrize("wrong", [None, {}, np.ones(3), {1: np.ones(3)}, [("y", 1)]])
def test_outputs_are_a_mapping_of_names(wrong):
    with pytest.raises(UsageError, match="a mapping of name to array"):
        golden_of_outputs(runtime(), "case", "fp32", wrong)


def test_a_name_is_a_text():
    with pytest.raises(UsageError, match="needs a name"):
        golden_of_outputs(runtime(), 7, "fp32", {"y": np.ones(1)})


def test_digests_see_names_types_shapes_and_values():
    x = np.arange(6, dtype=np.float32)
    same = {"x": x.copy()}
    others = [{"z": x}, {"x": x.astype(np.float64)}, {"x": x.reshape(2, 3)}, {"x": x + 1}, {"x": x, "y": x}]
    assert digest_of({"x": x}) == digest_of(same) == digest_of({"x": x.astype(">f4")})
    assert len({digest_of(one) for one in [same, *others]}) == 6
    assert digest_of({"x": x, "y": x}) == digest_of({"y": x, "x": x})


def test_what_is_exact_is_kept_apart():
    made = golden_of_outputs(runtime(), "case", "fp32", {"y": np.ones(1), "z": np.ones(2)})
    exact, local = split_exact(made, frozenset({"y"}))
    assert set(exact.arrays) == {"y"} and exact.key == made.key
    assert set(local.arrays) == {"z"} and local.key.product == f"{made.key.product}+cpu-{name_machine()}"
    assert split_exact(made, frozenset({"y", "z"}))[1] is None
    assert split_exact(made, frozenset())[0] is None
    lost, _ = split_exact(made, frozenset({"y", "gone"}))
    assert set(lost.arrays) == {"y"}, "an exact output that is missing today is still looked up"


def test_a_machine_has_a_name_also_where_it_tells_little(monkeypatch):
    here = name_machine()
    assert len(here) == 8 and name_machine() == here
    name_machine.cache_clear()
    monkeypatch.setattr(outputs.Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    bare = name_machine()
    name_machine.cache_clear()
    assert len(bare) == 8 and bare != here
