"""Factories of TensorRT give None or False and log; each becomes one error of ours with TensorRT's words."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from pytest_trt import hardware
from pytest_trt.errors import ModelError, ProfileError, UnsupportedError
from pytest_trt.runtime.build import BuildRequest, build_plan

from .fake_trt import FakeTrt, fake_runtime

PROFILE = {"x": ((1, 3), (2, 3), (4, 3))}


def build(trt: FakeTrt, **changes: Any) -> Any:
    facts = {"model": b"onnx", "profile": PROFILE, **changes}
    return build_plan(fake_runtime(trt), BuildRequest(**facts))


def test_a_build_that_nothing_refuses_gives_the_bytes() -> None:
    trt = FakeTrt()
    plan = build(trt, workspace_bytes=1 << 20)
    assert plan.data == b"plan"
    assert trt.taken == [("x", (1, 3), (2, 3), (4, 3))]
    assert trt.pools == {trt.MemoryPoolType.WORKSPACE: 1 << 20}
    assert trt.network_mask == 0b11
    assert trt.previews == {trt.PreviewFeature.PROFILE_SHARING_0806: True}


@pytest.mark.parametrize(
    "factory",
    [
        "Builder",
        "create_network",
        "OnnxParser",
        "create_builder_config",
        "create_optimization_profile",
        "add_optimization_profile",
        "build_serialized_network",
        "set_flag",
    ],
)
def test_each_factory_that_fails_is_an_unsupported_error(factory: str) -> None:
    trt = FakeTrt(fail=factory)
    with pytest.raises(UnsupportedError) as caught:
        build(trt, flags=frozenset({"FP16"}), strongly_typed=False)
    told = "TensorRT logged no error" if factory in ("add_optimization_profile", "set_flag") else trt.says
    if factory != "Builder":
        assert told in caught.value.why
    assert "TensorRT 10.0.0" in caught.value.what


def test_flags_are_set_by_name_and_read_back() -> None:
    trt = FakeTrt()
    assert build(trt, flags=frozenset({"FP16"}), strongly_typed=False).flags == {"FP16"}
    assert trt.flags == {trt.BuilderFlag.FP16: True, trt.BuilderFlag.TF32: False}


def test_tf32_stays_on_when_it_is_asked_for() -> None:
    assert build(FakeTrt(), flags=frozenset({"TF32"}), clear=frozenset()).flags == {"TF32"}


def test_an_unknown_flag_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnsupportedError, match="has no builder flag BF16") as caught:
        build(FakeTrt(), flags=frozenset({"BF16"}))
    assert "it has FP16, TF32" in caught.value.why


def test_bytes_that_are_no_onnx_are_a_model_error() -> None:
    with pytest.raises(ModelError, match="not an ONNX model") as caught:
        build(FakeTrt(errors=("MODEL_DESERIALIZE_FAILED",)))
    assert caught.value.why == ("MODEL_DESERIALIZE_FAILED: about MODEL_DESERIALIZE_FAILED",)


def test_an_operator_that_the_parser_refuses_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="did not parse the model: UNSUPPORTED_NODE") as caught:
        build(FakeTrt(errors=("UNSUPPORTED_NODE", "UNSUPPORTED_NODE")))
    assert len(caught.value.why) == 1


def test_an_empty_model_and_one_without_outputs() -> None:
    with pytest.raises(ModelError, match="empty"):
        build(FakeTrt(), model=b"")
    with pytest.raises(ModelError, match="no output"):
        build(FakeTrt(fail="outputs"))


def test_an_unknown_tensor_to_mark_is_named() -> None:
    with pytest.raises(ModelError, match="no tensor 'inner' to mark"):
        build(FakeTrt(), outputs=("y", "inner"))


def test_what_a_compiler_printed_joins_the_words_of_a_refusal(capfd: pytest.CaptureFixture[str]) -> None:
    trt = FakeTrt(fail="build_serialized_network")
    trt.prints = b"ptxas fatal\n"
    with pytest.raises(UnsupportedError) as caught:
        build(trt)
    assert caught.value.why == (trt.says, "ptxas fatal")
    assert capfd.readouterr().out == ""
    trt.fail = ""
    assert build(trt).captured == "ptxas fatal\n"


def test_a_dynamic_input_without_a_profile_is_named() -> None:
    with pytest.raises(ProfileError, match="input 'x' has dynamic dimensions") as caught:
        build(FakeTrt(), profile=None)
    assert "profile={'x': (min, opt, max)}" in str(caught.value.mend)


def test_ranges_are_refused_where_tensors_have_none() -> None:
    with pytest.raises(UnsupportedError, match="no implicit INT8"):
        build(FakeTrt(), dynamic_ranges={"x": 1.0})


def test_a_range_that_a_tensor_does_not_take() -> None:
    trt = FakeTrt(fail="set_dynamic_range")
    trt.ITensor.set_dynamic_range = None
    with pytest.raises(UnsupportedError, match=r"did not take the range 1\.0 of tensor 'x'"):
        build(trt, dynamic_ranges={"x": 1.0})
    trt.fail = ""
    assert build(trt, dynamic_ranges={"x": 1.0, "absent": 2.0}).data == b"plan"
    assert trt.taken[0] == (-1.0, 1.0)


def test_a_compute_capability_that_is_not_taken() -> None:
    trt = FakeTrt(fail="set_compute_capability")
    trt.ComputeCapability = enum.IntEnum("ComputeCapability", {"SM75": 75, "SM89": 89})
    with pytest.raises(UnsupportedError, match="did not take the compute capability SM75"):
        build(trt)
    with pytest.raises(UnsupportedError, match=r"does not build for SM80 \(a100\)"):
        build_plan(fake_runtime(trt, gpu=hardware.get("a100")), BuildRequest(b"onnx", profile=PROFILE))
