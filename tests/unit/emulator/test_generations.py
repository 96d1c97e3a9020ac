"""Each generation that the emulator plays has the ways to a precision of the real bindings, no more and no fewer.

The facts are those of the Python bindings that NVIDIA publishes for each version. They are written out here once more, apart
from the emulator's own table, so that a mistake in packing that table shows.
"""

from __future__ import annotations

import pytest
from onnx import helper

from pytest_trt import emulator
from pytest_trt.runtime.features import Features

from .models import make

GENERATIONS = {
    "8.6.1": ("tensorrt", "8.6.1"),
    "10.0.1": ("tensorrt", "10.0.1"),
    "10.13": ("tensorrt", "10.13"),
    "10.16": ("tensorrt", "10.16"),
    "11.0": ("tensorrt", "11.0"),
    "11.4": ("tensorrt", "11.4"),
    "RTX 1.7": ("tensorrt_rtx", "1.7"),
}
ALL = tuple(GENERATIONS)
OLD = ("8.6.1",)
TEN = ("10.0.1", "10.13", "10.16")
LATE_TEN = ("10.13", "10.16")
WEAK = (*OLD, *TEN)
TYPED = (*TEN, "11.0", "11.4", "RTX 1.7")
ALWAYS_TYPED = ("11.0", "11.4", "RTX 1.7")
RTX = ("RTX 1.7",)

# Name in the bindings, and the generations that have it.
NAMES = {
    "BuilderFlag.FP16": WEAK,
    "BuilderFlag.INT8": WEAK,
    "BuilderFlag.FP8": WEAK,
    "BuilderFlag.BF16": TEN,
    "BuilderFlag.INT4": LATE_TEN,
    "BuilderFlag.FP4": LATE_TEN,
    "BuilderFlag.TF32": ALL,
    "BuilderFlag.STRICT_TYPES": OLD,
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": WEAK,
    "BuilderFlag.PREFER_PRECISION_CONSTRAINTS": WEAK,
    "BuilderFlag.STRICT_NANS": (*LATE_TEN, *ALWAYS_TYPED),
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": WEAK,
    "NetworkDefinitionCreationFlag.EXPLICIT_PRECISION": OLD,
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": TYPED,
    "INetworkDefinition.get_flag": TYPED,
    "ILayer.precision": WEAK,
    "ILayer.precision_is_set": WEAK,
    "ILayer.reset_precision": WEAK,
    "ILayer.set_output_type": WEAK,
    "ILayer.reset_output_type": WEAK,
    "ILayer.output_type_is_set": WEAK,
    "ILayer.get_output_type": ALL,
    "ITensor.dtype": ALL,
    "ITensor.dynamic_range": WEAK,
    "ITensor.set_dynamic_range": WEAK,
    "ITensor.reset_dynamic_range": WEAK,
    "Refitter.set_dynamic_range": WEAK,
    "INormalizationLayer.compute_precision": WEAK,
    "Builder.platform_has_fast_fp16": WEAK,
    "Builder.platform_has_fast_int8": WEAK,
    "Builder.platform_has_tf32": WEAK,
    "IInt8Calibrator": WEAK,
    "IInt8EntropyCalibrator": WEAK,
    "IInt8EntropyCalibrator2": WEAK,
    "IInt8MinMaxCalibrator": WEAK,
    "IInt8LegacyCalibrator": WEAK,
    "CalibrationAlgoType": WEAK,
    "QuantizationFlag.CALIBRATE_BEFORE_FUSION": WEAK,
    "IBuilderConfig.int8_calibrator": WEAK,
    "IBuilderConfig.set_calibration_profile": WEAK,
    "IBuilderConfig.set_quantization_flag": WEAK,
    "DataType.HALF": ALL,
    "DataType.INT8": ALL,
    "DataType.FP8": ALL,
    "DataType.BF16": TYPED,
    "DataType.INT64": TYPED,
    "DataType.INT4": TYPED,
    "DataType.FP4": (*LATE_TEN, *ALWAYS_TYPED),
    "DataType.E8M0": (*LATE_TEN, *ALWAYS_TYPED),
    "INetworkDefinition.add_cast": ALL,
    "INetworkDefinition.add_quantize": ALL,
    "INetworkDefinition.add_dequantize": ALL,
    "INetworkDefinition.add_dynamic_quantize": (*LATE_TEN, *ALWAYS_TYPED),
    "ComputeCapability": RTX,
    "IBuilderConfig.set_compute_capability": RTX,
}

# Integers that moved between the generations, so that a number copied from one asks another for something else.
VALUES = {
    ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"): dict.fromkeys(WEAK, 0),
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"): {
        **dict.fromkeys(TEN, 1),
        **dict.fromkeys(ALWAYS_TYPED, 0),
    },
}

# What the adapter reads off the names: field of `Features`, and the generations where it is true.
PROBES = {
    "weak_typing": WEAK,
    "strong_typing": TYPED,
    "needs_explicit_batch": WEAK,
    "calibrators": WEAK,
    "layer_precision": WEAK,
    "dynamic_ranges": WEAK,
    "rtx": RTX,
}


@pytest.fixture(params=ALL)
def generation(request):
    """Each generation by its short name, with its module."""
    return request.param, emulator.load(*GENERATIONS[request.param], "a100")


def has(trt, name):
    """Tell whether a dotted name is there; a property of a class counts, an instance is not needed."""
    found = trt
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_names_of_precision(generation):
    short, trt = generation
    wrong = {name: has(trt, name) for name, having in NAMES.items() if has(trt, name) != (short in having)}
    assert not wrong


def test_numbers_of_creation_flags(generation):
    short, trt = generation
    for (enum, member), values in VALUES.items():
        found = getattr(trt, enum).__members__.get(member)
        assert (None if found is None else int(found)) == values.get(short), f"{enum}.{member}"


def test_probes_of_the_adapter(generation):
    short, trt = generation
    features = Features.of(trt)
    wrong = {
        name: getattr(features, name)
        for name, having in PROBES.items()
        if getattr(features, name) != (short in having)
    }
    assert not wrong


def network_of(trt):
    """Return a network of one ReLU behind one input, its layer, and what must stay alive."""
    builder = trt.Builder(trt.Logger())
    network = builder.create_network(Features.of(trt).network_flags(strong=False))
    parser = trt.OnnxParser(network, trt.Logger())
    relu = make([helper.make_node("Relu", ["x"], ["y"], name="relu")], {"x": (2, 3)}, {"y": (2, 3)})
    assert parser.parse(relu.SerializeToString())
    return network, network.get_layer(0), (builder, parser)


def test_type_of_a_tensor_can_be_set_up_to_ten(generation):
    short, trt = generation
    network, _, _ = network_of(trt)
    tensor = network.get_input(0)
    if short in WEAK:
        tensor.dtype = trt.float16
        assert tensor.dtype == trt.float16
    else:
        with pytest.raises(AttributeError):
            tensor.dtype = trt.float16
        assert tensor.dtype == trt.float32


def test_type_of_a_layer_can_be_set_up_to_ten(generation):
    short, trt = generation
    _, layer, _ = network_of(trt)
    if short in WEAK:
        assert not layer.precision_is_set and not layer.output_type_is_set(0)
        layer.precision = trt.float16
        layer.set_output_type(0, trt.float16)
        assert layer.precision_is_set and layer.output_type_is_set(0)
        assert layer.precision == trt.float16 and layer.get_output_type(0) == trt.float16
        layer.reset_precision()
        layer.reset_output_type(0)
        assert not layer.precision_is_set and not layer.output_type_is_set(0)
    else:
        assert not hasattr(layer, "precision") and not hasattr(layer, "set_output_type")


def test_range_of_a_tensor_can_be_set_up_to_ten(generation):
    short, trt = generation
    network, _, _ = network_of(trt)
    tensor = network.get_input(0)
    assert hasattr(tensor, "set_dynamic_range") == (short in WEAK)
    if short in WEAK:
        assert tensor.set_dynamic_range(-2.0, 2.0)
        assert tensor.dynamic_range == (-2.0, 2.0)
        tensor.reset_dynamic_range()
        assert tensor.dynamic_range is None


def test_tf32_is_the_only_switch_that_stays(generation):
    short, trt = generation
    config = trt.Builder(trt.Logger()).create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32), "TF32 is on unless it is cleared"
    config.clear_flag(trt.BuilderFlag.TF32)
    assert not config.get_flag(trt.BuilderFlag.TF32)
    types = {"FP16", "BF16", "INT8", "FP8", "INT4", "FP4"} & set(trt.BuilderFlag.__members__)
    assert bool(types) == (short in WEAK)


@pytest.mark.parametrize("short", TYPED)
def test_network_without_flags_is_typed_from_eleven(short):
    trt = emulator.load(*GENERATIONS[short], "a100")
    network = trt.Builder(trt.Logger()).create_network()
    typed = network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert typed == (short in ALWAYS_TYPED)


def test_bits_of_another_generation_do_not_ask_for_strong_typing():
    """`1 << 1` is strong typing in 10.x, a Python plugin's preference in 11.x, and no flag at all in TensorRT-RTX."""
    loaded = {short: emulator.load(*GENERATIONS[short], "a100") for short in ("10.13", "11.4", "RTX 1.7")}
    networks = {short: trt.Builder(trt.Logger()).create_network(1 << 1) for short, trt in loaded.items()}
    flags = {short: trt.NetworkDefinitionCreationFlag for short, trt in loaded.items()}
    assert networks["10.13"].get_flag(flags["10.13"].STRONGLY_TYPED)
    assert networks["11.4"].get_flag(flags["11.4"].PREFER_JIT_PYTHON_PLUGINS)
    assert networks["RTX 1.7"] is None
