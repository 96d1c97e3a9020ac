"""Types of single layers: what is set on which layer, what stays as it is, and what a TensorRT does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.errors import ModelError, UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime import BuildRequest, Runtime, build_plan
from pytest_trt.runtime.constraints import constrain
from pytest_trt.runtime.load import discover


def runtime(emulate: str = "tensorrt-10.13", gpu: str = "a100") -> Runtime:
    found = discover(Settings(runtime="emulator", gpu=gpu, emulate=emulate)).executor
    assert found is not None
    return found


def model() -> bytes:
    """Return a convolution, a ReLU, a TopK with float and int64 outputs, and a Gather of a shape."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("TopK", ["r", "k"], ["v", "i"], name="top"),
        helper.make_node("Shape", ["r"], ["s"], name="shape"),
        helper.make_node("Neg", ["v"], ["y"], name="neg"),
        helper.make_node("Cast", ["i"], ["z"], name="cast", to=TensorProto.FLOAT),
    ]
    weights = np.ones((4, 3, 1, 1), np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "yz"],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([2], np.int64), "k")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = onnx.shape_inference.infer_shapes(made).SerializeToString()
    return data


def request(**changes: Any) -> BuildRequest:
    return BuildRequest(
        **{"model": model(), "strongly_typed": False, "flags": frozenset({"FP16"}), **changes}
    )


def constrained(rt: Runtime, asked: BuildRequest) -> dict[str, tuple[str | None, list[str | None]]]:
    """Return layer name to the precision that was set, and the type that was set for each output."""
    builder = rt.trt.Builder(rt.logger.raw)
    network = builder.create_network(rt.features.network_flags(False))
    assert rt.trt.OnnxParser(network, rt.logger.raw).parse(asked.model)
    constrain(rt, network, asked)
    found = {}
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        outputs = [
            layer.get_output_type(slot).name if layer.output_type_is_set(slot) else None
            for slot in range(layer.num_outputs)
        ]
        found[layer.name] = (layer.precision.name if layer.precision_is_set else None, outputs)
    return found


NOTHING: tuple[str | None, list[str | None]] = (None, [None])


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.13"])
def test_every_floating_layer_gets_the_type_of_the_flags(emulate: str) -> None:
    assert constrained(runtime(emulate), request(constraints="obey")) == {
        "conv": ("HALF", ["HALF"]),
        "relu": ("HALF", ["HALF"]),
        "top": ("HALF", ["HALF", None]),  # indices are integers
        "shape": NOTHING,
        "neg": ("HALF", [None]),  # an output of the network keeps the type of the user's model
        "cast": NOTHING,
    }


@pytest.mark.parametrize(("flags", "kind"), [((), "FLOAT"), (("TF32",), "FLOAT"), (("BF16",), "BF16")])
def test_the_type_follows_from_the_flags(flags: tuple[str, ...], kind: str) -> None:
    found = constrained(runtime(), request(constraints="prefer", flags=frozenset(flags)))
    assert found["conv"] == (kind, [kind])


def test_implicit_int8_is_for_layers_that_multiply_and_says_nothing_of_their_outputs() -> None:
    found = constrained(runtime(), request(constraints="obey", flags=frozenset({"INT8", "FP16"})))
    assert found["conv"] == ("INT8", [None]) and found["relu"] == ("HALF", ["HALF"])


def test_without_constraints_nothing_is_set() -> None:
    assert set(map(str, constrained(runtime(), request()).values())) == {
        "(None, [None])",
        "(None, [None, None])",
    }


def test_a_single_layer_has_the_last_word() -> None:
    found = constrained(runtime(), request(constraints="obey", layer_types={"conv": "fp32"}))
    assert found["conv"] == ("FLOAT", ["FLOAT"]) and found["relu"] == ("HALF", ["HALF"])
    alone = constrained(runtime(), request(layer_types={"conv": "fp32"}))
    assert alone["conv"] == ("FLOAT", ["FLOAT"]) and alone["relu"] == NOTHING


def test_the_type_of_a_single_tensor() -> None:
    found = constrained(runtime(), request(output_types={"c": "fp32"}))
    assert found["conv"] == (None, ["FLOAT"])


@pytest.mark.parametrize(("kind", "flag"), [("obey", "OBEY"), ("prefer", "PREFER"), ("off", "OBEY")])
def test_single_types_are_obeyed_unless_they_are_preferred(kind: str, flag: str) -> None:
    plan = build_plan(runtime(), request(constraints=kind, layer_types={"conv": "fp32"}))
    assert plan.flags == {"FP16", f"{flag}_PRECISION_CONSTRAINTS"}


def test_the_built_engine_shows_them() -> None:
    layers = build_plan(runtime(), request(constraints="obey", layer_types={"conv": "fp32"})).layers
    types = {layer.name: layer.inputs[0] for layer in layers}
    assert (types["conv"], types["relu"], types["neg"]) == ("fp32", "fp16", "fp16")


@pytest.mark.parametrize(
    ("changes", "words", "mend"),
    [
        ({"layer_types": {"comv": "fp32"}}, "no layer 'comv'", "'conv'"),
        ({"output_types": {"rr": "fp32"}}, "no tensor 'rr'", "'r'"),
    ],
)
def test_a_name_that_is_not_there_comes_with_the_nearest(changes: Any, words: str, mend: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        build_plan(runtime(), request(**changes))
    assert mend in str(caught.value.mend)


@pytest.mark.parametrize(("name", "why"), [("y", "output of the network"), ("i", "not a floating tensor")])
def test_the_type_of_an_output_and_of_integers_is_fixed(name: str, why: str) -> None:
    with pytest.raises(UnsupportedError, match=f"type of tensor '{name}' is fixed") as caught:
        build_plan(runtime(), request(output_types={name: "fp32"}))
    assert why in caught.value.why[0] and caught.value.mend


@pytest.mark.parametrize("emulate", ["tensorrt-11.4", "tensorrt_rtx-1.7"])
@pytest.mark.parametrize("changes", [{"constraints": "obey"}, {"layer_types": {"conv": "fp32"}}])
def test_newer_ones_have_no_constraints(emulate: str, changes: Any) -> None:
    rt = runtime(emulate)
    with pytest.raises(
        UnsupportedError, match="no types of single layers and no precision constraints"
    ) as caught:
        build_plan(rt, request(strongly_typed=True, flags=frozenset(), **changes))
    assert rt.title in caught.value.what and "Cast" in str(caught.value.mend)


def test_a_strongly_typed_network_takes_none() -> None:
    with pytest.raises(UnsupportedError, match="in a strongly typed network") as caught:
        build_plan(runtime(), request(strongly_typed=True, flags=frozenset(), constraints="obey"))
    assert "--trt-typing=weak" in str(caught.value.mend)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="unknown constraints 'strict'"):
        build_plan(runtime(), request(constraints="strict"))
    with pytest.raises(UnsupportedError, match="unknown type 'half' for a layer"):
        build_plan(runtime(), request(layer_types={"conv": "half"}))


def test_a_type_whose_flag_is_not_set_is_refused_in_tensorrts_words() -> None:
    with pytest.raises(UnsupportedError) as caught:
        build_plan(runtime(), request(flags=frozenset(), layer_types={"conv": "fp16"}))
    assert "fp16 is not configured in the builder" in caught.value.why[0]


@pytest.mark.parametrize(
    ("attempt", "words", "mend"),
    [
        (
            lambda: build_plan(runtime("tensorrt-8.6.1"), request(flags=frozenset({"BF16"}))),
            "no builder flag BF16",
            "fp16",
        ),
        (
            lambda: build_plan(runtime(gpu="t4"), request(flags=frozenset({"BF16"}))),
            "no bf16 on t4",
            "compute capability",
        ),
        (
            lambda: build_plan(runtime("tensorrt-8.6.1"), request(layer_types={"conv": "bf16"})),
            "has no type bf16",
            "fp16",
        ),
    ],
)
def test_bf16_that_is_not_there_is_refused_with_a_way_that_works(
    attempt: Callable[[], object], words: str, mend: str
) -> None:
    with pytest.raises(UnsupportedError, match=words) as caught:
        attempt()
    assert mend in str(caught.value.mend)


def test_dummy_ranges_are_set_on_every_tensor_and_the_plan_says_so() -> None:
    rt = runtime()
    plan = build_plan(rt, request(flags=frozenset({"INT8"}), dummy_range=3.0))
    assert not plan.accurate
    assert {layer.inputs[0] for layer in plan.layers if layer.name == "conv"} == {"int8"}
    assert build_plan(rt, request()).accurate
    with pytest.raises(UnsupportedError, match="no scaling factors"):
        build_plan(rt, request(flags=frozenset({"INT8"})))
