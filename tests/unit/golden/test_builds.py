"""What a build gives as a golden, on the emulator."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.golden.builds import (
    asked_name,
    clean_words,
    describe_layers,
    golden_of_build,
    golden_of_parser,
    read_memory,
)
from pytest_trt.golden.built import compare_builds
from pytest_trt.golden.files import pack, unpack
from pytest_trt.golden.record import BENIGN, BUILD, IDENTICAL
from pytest_trt.records import LayerInfo, LogLine, Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case
from tests.unit.golden.stores import is_same

CASE = Case.parse("conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_real-s1")
VERSIONS = ("tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-10.16", "tensorrt-11.4", "tensorrt_rtx-1.7")


@cache
def runtime(emulate="tensorrt-10.13"):
    return discover(Settings(runtime="emulator", gpu="l4", emulate=emulate)).executor


def made(rt, precision="fp16", **more):
    feed = {name: np.ones(shape, np.float32) for name, shape in CASE.input_shapes.items()}
    return golden_of_build(rt, "build-x", CASE.model(), precision, feed=feed, profile=CASE.profile, **more)


@pytest.mark.parametrize("emulate", VERSIONS)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_build_tells_its_layers_types_and_sizes(emulate, precision):
    golden = made(runtime(emulate), precision)
    facts = golden.facts
    assert (golden.kind, facts["outcome"], facts["types"]) == (BUILD, "built", {precision: 1})
    assert facts["plan_bytes"] > 0 and facts["device_memory_bytes"] > 0 and facts["layers"]
    assert facts["build_seconds"] >= 0 and len(facts["model"]) == 64 and facts["calibration"] is None
    assert (facts["timing_cache"] is None) == emulate.startswith("tensorrt_rtx")
    assert golden.key.product.startswith(f"emulator+{runtime(emulate).plays}+ort-")
    assert len(golden.provenance["plan"]) == 64
    assert is_same(unpack(*pack(golden)), golden)


def test_the_same_build_is_identical_and_one_of_another_version_has_another_timing_cache():
    old, again, new = made(runtime()), made(runtime()), made(runtime("tensorrt-10.16"))
    assert compare_builds(old, again).outcome == IDENTICAL
    assert compare_builds(old, new).outcome in (IDENTICAL, BENIGN)
    assert old.facts["timing_cache"]["sha256"] != new.facts["timing_cache"]["sha256"]


def test_a_calibrated_build_keeps_the_header_of_its_table():
    golden = made(runtime("tensorrt-8.6.1"), "int8", implicit=True)
    assert golden.facts["calibration"] == "emulator-8601-EntropyCalibration2"
    assert golden.facts["types"] == {"int8": 1}


def test_a_refusal_is_kept_in_words_with_the_operator():
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], name="odd")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([node], "refused", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    facts = golden_of_build(runtime(), "build-odd", model, "fp32").facts
    assert facts["outcome"] == "refused" and facts["words"] and "plan_bytes" not in facts
    assert facts["operators"] == facts["unsupported"] == ["NoSuchOperator"]


def test_the_parser_says_which_operators_it_supports():
    facts = golden_of_parser(runtime(), "build-parser").facts
    assert facts["outcome"] == "built" and facts["supported"]["Conv"] is True
    assert not all(facts["supported"].values())


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("at 0x7f12ab: bad", "at 0x: bad"),
        ("[graph.h:1259: attach] In /_src/codeGenerator.cpp:1962)", "[graph.h: attach] In codeGenerator.cpp)"),
        ("builder.cpp::build::417, condition", "builder.cpp::build, condition"),
        ("__mye424_myl0_3", "__mye_myl_3"),
    ],
)  # fmt: skip
def test_words_have_no_addresses_paths_and_line_numbers(line, clean):
    assert clean_words([line]) == [clean]


def test_words_are_few_and_short_and_each_comes_once():
    words = clean_words(["one\n\n  one ", *(f"line {'ab'[n % 2]}{n}" * 80 for n in range(9))])
    assert words[0] == "one" and len(words) == 4
    assert all(len(line) <= 240 for line in words) and words[1].endswith("...")


def test_layers_do_not_depend_on_how_often_a_process_has_built():
    def layers(number, first):
        conv = LayerInfo(f"conv_myl{number}_1", "gemm", ("fp16",), ("fp16",), f"k_0x{number}{'a' * 16}")
        cast = LayerInfo(f"__mye{number}", "kgen", ("fp32",), ("fp16",), "", constants=("fp16",))
        return (conv, cast) if first else (cast, conv)

    assert describe_layers(layers(7, True)) == describe_layers(layers(12, False))
    assert describe_layers(layers(7, True))[1] == {
        "name": "conv",
        "kind": "gemm",
        "types": "fp16 > fp16",
        "tactic": "k",
    }


def test_memory_is_read_from_the_log():
    lines = (
        "Total Host Persistent Memory: 80 bytes",
        "Total Device Persistent Memory: 7 bytes",
        "Max Scratch Memory: 8198656 bytes",
        "Total Activation Memory: 8198657 bytes",
        "Total Weights Memory: 27040 bytes",
        "[MemUsageStats] Peak memory usage of TRT CPU/GPU memory allocators: CPU 3 MiB, GPU 5 MiB",
    )
    assert read_memory([LogLine("INFO", line) for line in lines]) == {
        "activation": 8198657,
        "peak_cpu_mib": 3,
        "peak_gpu_mib": 5,
        "persistent": 7,
        "scratch": 8198656,
        "weights": 27040,
    }


def test_the_name_of_a_precision_has_both_types():
    assert (asked_name("fp16"), asked_name("int8", "bf16")) == ("fp16", "int8+bf16")
