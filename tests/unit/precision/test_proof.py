from __future__ import annotations

import pytest

from pytest_trt.precision import prove
from pytest_trt.records import LayerInfo


def layer(name, kind, *inputs):
    return LayerInfo(name, kind, inputs=inputs, outputs=("fp32",))


def test_every_working_layer_in_the_type_asked_for_is_a_proof():
    proof = prove([layer("a", "correlation", "int8"), layer("q", "kgen", "fp32")], "int8")
    assert proof.holds and proof.ran == {"int8": 1} and proof.fallback == ()


def test_a_layer_that_stayed_in_fp32_is_named():
    proof = prove([layer("a", "CaskConvolution", "fp16"), layer("b", "gemm", "fp32")], "fp16")
    assert not proof.holds and proof.fallback == ("b",) and proof.ran == {"fp16": 1, "fp32": 1}


def test_no_working_layer_proves_nothing():
    assert not prove([layer("p", "pooling", "fp16")], "fp16").holds


def test_a_layer_without_inputs_is_not_counted():
    assert prove([LayerInfo("a", "gemm")], "fp16").ran == {}


@pytest.mark.parametrize("asked", ["fp32", "tf32"])
def test_tf32_shows_as_fp32(asked):
    assert prove([layer("a", "deconv", "fp32")], asked).holds


@pytest.mark.parametrize(
    "kind", ["correlation", "deconv", "gemm", "CaskConvolution", "MatrixMultiply", "runtime_fusion"]
)
def test_what_works(kind):
    assert prove([layer("a", kind, "fp16")], "fp16").holds


def test_int8_is_asked_for_by_a_graph_with_qdq_of_its_own():
    layers = [layer("a", "gemm", "int8"), layer("b", "gemm", "fp32")]
    assert prove(layers, "fp32").fallback == ("a",)
    assert prove(layers, "fp32", quantized=True).holds
    assert prove(layers, "fp16", quantized=True).fallback == ("b",)
