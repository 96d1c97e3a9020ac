"""What a layer list proves of the precision, and what of that is refused, under orders and under permissions."""

from __future__ import annotations

import pytest

from pytest_trt.precision import prove
from pytest_trt.precision.proof import complaint, describe, pool, remark
from pytest_trt.records import LayerInfo

from .samples import sample


def layer(name, kind, *inputs, nodes=(), tactic=""):
    metadata = "".join(f"[ONNX Layer: {node}]" for node in nodes)
    return LayerInfo(name, kind, inputs=inputs, outputs=("fp32",), tactic=tactic, metadata=metadata)


def refused(proof, binding):
    return complaint(proof, binding=binding)


def test_every_working_layer_in_the_type_asked_for_is_a_proof():
    proof = prove([layer("a", "correlation", "int8"), layer("q", "kgen", "fp32")], "int8")
    assert proof.holds and proof.ran == {"int8": 1} and proof.fallback == ()
    assert proof.layers == {"int8": 1, "fp32": 1} and proof.share == 1.0
    assert refused(proof, True) is None and refused(proof, False) is None and remark(proof) is None


def test_a_layer_that_stayed_in_fp32_is_named():
    proof = prove([layer("a", "CaskConvolution", "fp16"), layer("b", "gemm", "fp32")], "fp16")
    assert not proof.holds and proof.fallback == ("b",) and proof.ran == {"fp16": 1, "fp32": 1}
    assert refused(proof, True) == "1 of 2 working layers are in fp16; in another type: b"
    assert refused(proof, False) is None
    assert remark(proof) == "1 of 2 working layers are in fp16 (fp16 1, fp32 1)"


def test_no_working_layer_proves_nothing():
    proof = prove([layer("p", "pooling", "fp16")], "fp16")
    assert not proof.holds and proof.share == 0.0
    for binding in (True, False):
        assert refused(proof, binding) == "no layer that multiplies is told, so nothing proves fp16"


def test_a_layer_that_does_not_tell_its_type_proves_nothing():
    proof = prove([LayerInfo("a", "gemm")], "fp16")
    assert proof.ran == {} and proof.unproven == ("a",) and not proof.holds
    assert refused(proof, True) == "the layer list does not tell the type of a, so nothing proves fp16"
    assert refused(proof, False) is None and "type not told: a" in remark(proof)


@pytest.mark.parametrize("asked", ["fp32", "tf32"])
def test_tf32_shows_as_fp32(asked):
    assert prove([layer("a", "deconv", "fp32")], asked).holds


TF32_KERNEL = layer("a", "gemm", "fp32", tactic="sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n")


@pytest.mark.parametrize("asked", ["fp32", "fp16", "bf16", "int8"])
def test_a_kernel_named_tf32_is_refused_where_the_flag_is_off(asked):
    proof = prove([TF32_KERNEL], asked)
    assert proof.breaches == ("a (tf32)",)
    assert "in another type: a (tf32)" in refused(proof, False)


def test_a_kernel_named_tf32_proves_tf32():
    proof = prove([TF32_KERNEL], "tf32")
    assert proof.holds and proof.ran == {"tf32": 1} and proof.loosest == "tf32"


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


@pytest.mark.parametrize(
    ("precision", "hybrid", "types"),
    [
        ("fp32", "off", {"fp32"}),
        ("tf32", "off", {"tf32", "fp32"}),
        ("fp16", "off", {"fp16", "fp32"}),
        ("bf16", "off", {"bf16", "fp32"}),
        ("int8", "off", {"int8", "fp32"}),
        ("int8", "fp16", {"int8", "fp16", "fp32"}),
        ("int8", "bf16", {"int8", "bf16", "fp32"}),
    ],
)
def test_types_that_weak_typing_may_choose(precision, hybrid, types):
    assert pool(precision, hybrid) == types
    assert pool(precision, hybrid, quantized=True) == types | {"int8"}


def test_int8_alone_never_allows_fp16():
    layers = [layer("a", "CaskConvolution", "int8"), layer("b", "CaskConvolution", "fp16")]
    alone, both = prove(layers, "int8"), prove(layers, "int8", hybrid="fp16")
    assert alone.breaches == ("b (fp16)",)
    assert refused(alone, False) == "asked for int8, which allows int8, fp32; in another type: b (fp16)"
    assert both.holds and both.share == 0.5 and both.share_of("fp16") == 0.5


def test_a_hybrid_without_any_int8_is_refused_where_types_bind():
    proof = prove([layer("a", "CaskConvolution", "fp16")], "int8", hybrid="fp16")
    assert not proof.holds and proof.fallback == () and proof.fell_back
    assert refused(proof, True) == "no working layer is in int8: fp16 1"
    assert refused(proof, False) is None


def test_an_engine_that_silently_stayed_fp32():
    proof = prove([layer("a", "CaskConvolution", "fp32"), layer("b", "gemm", "fp32")], "fp16")
    assert refused(proof, True) == "0 of 2 working layers are in fp16; in another type: a, b"
    assert refused(proof, False) is None
    assert remark(proof) == "fell back entirely: no working layer is in fp16 (fp32 2)"


@pytest.mark.parametrize(
    ("inputs", "loosest"),
    [
        (["fp16", "fp32"], "fp16"),
        (["fp32"], "fp32"),
        (["int8", "fp16", "fp32"], "int8"),
        (["bf16", "fp16"], "bf16"),
    ],
)
def test_the_loosest_type_that_ran(inputs, loosest):
    assert prove([layer("a", "gemm", kind) for kind in inputs], "int8").loosest == loosest


def test_a_hidden_layer_may_have_run_in_the_loosest_type_of_the_pool():
    layers = [layer("a", "gemm", "fp32"), layer("{ForeignNode[b...c]}", "Myelin", "fp32")]
    assert prove(layers, "fp16").loosest == "fp16"
    assert prove([], "int8").loosest == "int8"


def test_a_node_in_another_type_than_its_graph_asks_is_named():
    layers = [layer("l", "CaskConvolution", "fp16", nodes=["a"])]
    proof = prove(layers, "int8", hybrid="fp16", wanted={"a": "int8"})
    assert proof.fallback == ("node a",)
    assert prove(layers, "int8", hybrid="fp16", wanted={"a": "fp16"}).fallback == ()


def test_a_node_that_its_graph_keeps_in_fp32_is_no_fallback():
    layers = [layer("l", "gemm", "fp32", nodes=["kept"]), layer("m", "gemm", "fp16", nodes=["a"])]
    proof = prove(layers, "bf16", wanted={"kept": "fp32", "a": "fp16"})
    assert proof.fallback == proof.breaches == () and not proof.holds
    assert prove(layers, "fp16", wanted={"kept": "fp32", "a": "fp16"}).holds
    assert prove(layers, "fp16", wanted={"kept": "fp16", "a": "fp16"}).fallback == ("l",)


def test_a_graph_in_fp32_may_be_computed_in_tf32_where_that_was_asked():
    layers = [layer("l", "gemm", "fp32", nodes=["a"])]
    assert prove(layers, "tf32", wanted={"a": "fp32"}).holds


def test_a_node_that_no_layer_names_is_not_proven():
    layers = [layer("l", "CaskConvolution", "fp16", nodes=["a"])]
    assert prove(layers, "fp16", wanted={"a": "fp16", "b": "fp16"}).unproven == ("node b",)
    assert prove([layer("l", "gemm", "fp16")], "fp16", wanted={"b": "fp16"}).holds  # no metadata at all


def test_a_node_is_not_named_beside_its_layer():
    layers = [layer("l", "gemm", "fp32", nodes=["a"]), layer("{ForeignNode[b]}", "Myelin", nodes=["b"])]
    proof = prove(layers, "fp16", wanted={"a": "fp16", "b": "fp16"})
    assert proof.fallback == ("l",) and proof.unproven == ("{ForeignNode[b]}",)


def test_an_engine_that_tells_names_only():
    assert prove([LayerInfo("conv + relu", "?")], "fp32").unproven == ("conv + relu",)


def test_a_mixed_engine_of_8_6():
    proof = prove(sample("tensorrt-8.6-int8-fp16.json"), "int8", hybrid="fp16")
    assert proof.ran == {"int8": 3, "fp16": 1, "tf32": 1}
    assert proof.breaches == ("head (tf32)",) and proof.reformats == 2
    assert proof.layers == {"fp32": 1, "int8": 4, "fp16": 3, "tf32": 1}


def test_types_inside_of_myelin_are_unproven():
    proof = prove(sample("tensorrt-8.6-dynamic-myelin.json"), "fp16")
    assert proof.ran == {"fp16": 2} and proof.fallback == ()
    assert proof.unproven == ("{ForeignNode[/attention/q/MatMul.../attention/out/Add]}",)
    assert not proof.holds and proof.share == pytest.approx(2 / 3)


def test_generated_kernels_of_10_count_where_their_names_say_that_they_multiply():
    proof = prove(sample("tensorrt-10-gemm-fp16.json"), "fp16")
    assert proof.ran == {"fp16": 3, "tf32": 1} and proof.breaches == ("fc3_myl0_5 (tf32)",)
    assert proof.reformats == 1


def test_an_engine_of_11():
    proof = prove(sample("tensorrt-11-bf16.json"), "bf16")
    assert proof.holds and proof.ran == {"bf16": 3} and proof.reformats == 2


BLOCK = ("conv0", "conv1", "conv2", "matmul")


@pytest.mark.parametrize(
    ("name", "asked", "ran"),
    [
        ("rtx-1.7.1-sm80-block-fp16.log", "fp16", {"fp16": 4}),
        ("rtx-1.7.1-sm80-block-int8.log", "int8", {"int8": 4}),
    ],
)
def test_engines_of_rtx(name, asked, ran):
    proof = prove(sample(name), asked, wanted=dict.fromkeys(BLOCK, asked))
    assert proof.holds and proof.ran == ran


def test_rtx_for_turing_leaves_int8_convolutions_in_fp32():
    proof = prove(sample("rtx-1.7.1-sm75-conv-int8.log"), "int8", wanted={"conv": "int8"})
    assert proof.fallback == ("conv_myl0_2",) and proof.fell_back
    assert refused(proof, True) is not None


def test_a_proof_as_lines():
    layers = [
        layer("a", "CaskConvolution", "int8"),
        layer("b", "CaskConvolution", "fp16"),
        layer("c", "Myelin"),
        layer("r", "Reformat", "fp32"),
    ]
    assert describe(prove(layers, "int8")) == (
        "int8: 1 of 3 working layers (33%); fp16 1, int8 1",
        "layers by type: ? 1, fp16 1, fp32 1, int8 1; reformat layers: 1",
        "in a type that is not allowed: b (fp16)",
        "in another type: b",
        "type not told: c",
    )
    assert describe(prove([], "fp32"))[0] == "fp32: 0 of 0 working layers (0%); none"


def test_long_lists_are_cut():
    layers = [layer(f"l{number}", "gemm", "fp32") for number in range(7)]
    assert refused(prove(layers, "fp16"), True).endswith("l0, l1, l2, l3, l4 and 2 more")
