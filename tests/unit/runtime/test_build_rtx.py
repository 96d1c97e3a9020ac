"""Builds of the real TensorRT-RTX, on any machine that has it."""

from __future__ import annotations

import threading

import pytest
from onnx import TensorProto

from pytest_trt.errors import ModelError, ProfileError, RuntimeMissingError, UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime import BuildRequest, Plan, Runtime, Session, build_plan
from pytest_trt.runtime.load import find_builder
from pytest_trt.runtime.modules import RTX_COMMAND, library_version

from . import models

PROFILE = {"x": ((1, 8, 6, 6), (4, 8, 6, 6), (8, 8, 6, 6))}


@pytest.fixture(scope="module")
def rtx() -> Runtime:
    found = find_builder(Settings(gpu="t4", log="VERBOSE"))
    if found is None:
        pytest.skip(f"TensorRT-RTX is not here: {RTX_COMMAND}")
    return found


def request(**changes: object) -> BuildRequest:
    facts = {"model": models.conv(), "profile": PROFILE, **changes}
    return BuildRequest(**facts)  # type: ignore[arg-type]


def test_it_builds_without_a_gpu_and_repeats_byte_for_byte(rtx: Runtime) -> None:
    first, second = build_plan(rtx, request()), build_plan(rtx, request())
    assert first.digest == second.digest
    assert len(first.data) > 1000
    assert first.flags == frozenset()
    assert build_plan(rtx, request(flags=frozenset({"TF32"}), clear=frozenset())).flags == {"TF32"}


def test_bindings_and_library_agree(rtx: Runtime) -> None:
    library = library_version("tensorrt_rtx")
    assert library is not None
    assert rtx.version.split(".")[:2] == [str(part) for part in library[:2]]


@pytest.mark.parametrize(("kind", "name"), [(TensorProto.FLOAT, "fp32"), (TensorProto.FLOAT16, "fp16")])
def test_the_layer_list_shows_the_type_of_the_working_layer(rtx: Runtime, kind: int, name: str) -> None:
    layers = build_plan(rtx, request(model=models.conv(kind))).layers
    working = [layer for layer in layers if "conv" in layer.metadata]
    assert working
    assert {layer.inputs[0] for layer in working} == {name}


def test_without_detail_there_are_no_layers(rtx: Runtime) -> None:
    assert build_plan(rtx, request(detailed=False)).layers == ()


def test_garbage_is_a_model_error(rtx: Runtime) -> None:
    with pytest.raises(ModelError, match="cannot read these 7 bytes"):
        build_plan(rtx, request(model=b"garbage"))


def test_a_dynamic_input_needs_a_profile(rtx: Runtime) -> None:
    with pytest.raises(ProfileError, match="input 'x' has dynamic dimensions"):
        build_plan(rtx, request(profile=None))


def test_a_refusal_comes_in_tensorrts_words(rtx: Runtime) -> None:
    with pytest.raises(UnsupportedError) as caught:
        build_plan(rtx, request(model=models.strange_deconvolution(), profile=None))
    assert caught.value.why
    assert caught.value.why != ("TensorRT logged no error",)


def test_a_compute_capability_that_it_does_not_know(rtx: Runtime) -> None:
    with pytest.raises(UnsupportedError, match="does not build for SM90") as caught:
        build_plan(rtx, request(sm=90))
    assert "SM75" in caught.value.why[0] and "NONE" not in caught.value.why[0]


def test_weak_typing_and_its_flags_are_gone(rtx: Runtime) -> None:
    with pytest.raises(UnsupportedError, match="has no weakly typed networks"):
        build_plan(rtx, request(strongly_typed=False))
    with pytest.raises(UnsupportedError, match="has no builder flag FP16"):
        build_plan(rtx, request(flags=frozenset({"FP16"})))


def test_one_more_output_is_marked(rtx: Runtime) -> None:
    assert build_plan(rtx, request(outputs=("c",))).digest != build_plan(rtx, request()).digest
    with pytest.raises(ModelError, match="no tensor 'z' to mark"):
        build_plan(rtx, request(outputs=("z",)))


def test_two_profiles_and_a_workspace_limit(rtx: Runtime) -> None:
    wide = {"x": ((1, 8, 6, 6), (8, 8, 6, 6), (64, 8, 6, 6))}
    assert len(build_plan(rtx, request(more_profiles=(wide,))).data) > len(build_plan(rtx, request()).data)
    with pytest.raises(UnsupportedError):
        build_plan(rtx, request(workspace_bytes=1))


def test_builders_in_two_threads_agree_and_keep_their_logs_apart(rtx: Runtime) -> None:
    plans: dict[int, Plan] = {}

    def work(number: int) -> None:
        model = models.conv(TensorProto.FLOAT16 if number % 2 else TensorProto.FLOAT)
        plans[number] = build_plan(rtx, request(model=model))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plans[0].digest == plans[2].digest != plans[1].digest == plans[3].digest
    for number, plan in plans.items():
        assert sum(line.text.startswith("Layers:") for line in plan.log) == 1
        kinds = {layer.inputs[0] for layer in plan.layers if "conv" in layer.metadata}
        assert kinds == {"fp16" if number % 2 else "fp32"}


def test_a_plain_build_logs_nothing_that_is_kept_at_warning(rtx: Runtime) -> None:
    lines = build_plan(rtx, request()).log
    assert {line.severity for line in lines} <= {"INFO", "VERBOSE"}


def test_a_builder_without_a_gpu_does_not_execute(rtx: Runtime) -> None:
    if rtx.can_execute:
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeMissingError, match="only builds here"):
        Session(rtx, build_plan(rtx, request()))
