"""What the real TensorRT builds: every drawn configuration and the trained networks, for the compute capability of `--gpu`.

Claims: an engine has the precision that was asked for, a build repeats, builders in several threads do not disturb each other
(TensorRT documentation, "Thread Safety"), and what TensorRT refuses or builds in another type is known beforehand: the table
`pytest_trt/cases/limits.toml`. TensorRT-RTX builds without a GPU, so all this runs on any machine.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given

from pytest_trt import strategies
from pytest_trt.cases.limits import REFUSED, name_asked, table
from pytest_trt.cases.models import find_models
from pytest_trt.records import Missing
from pytest_trt.runtime.build import BuildRequest
from pytest_trt.strategies import Case

from ._build import attempt, build_twice, limit_example, make_request
from ._quantized import quantized_networks

# A fixture of function scope is no argument of a property test; as a mark it still multiplies the test.
once_per_precision = pytest.mark.usefixtures("trt_precision")
hybrid = pytest.mark.parametrize("hybrid", ["fp16", "bf16"])
QUANTIZED = tuple(quantized_networks())
NETWORKS = ("ocr-direction", "ocr-detection", "ocr-recognition")
# A convolution whose plan for SM80 and newer differs from the one for Turing: depthwise, 1-D, FP16.
# An example beside the property: both inputs move, so that nothing but fused casts shows.
SCALAR = "matmul-n1-m1-k1-o1-i1-w_int-s0"
DEPTHWISE = "conv1d-n1-c16-o16-i8-k3-t1-p1x1-d1-g16-b1-w_int-s0"
# One channel of its weights has a scale below the normal numbers of fp16.
SUBNORMAL = "gemm-n1-k1-o63-ta0-tb1-al4-be4-b0-w_real-s0"
GEMM = "gemm-n4-k16-o8-ta0-tb0-al4-be4-b1-w_int-s0"
STRIDED_DILATED = "conv_transpose2d-n1-c8-o8-i4x4-k3x3-t2x2-p0x0x0x0-d2x2-g1-b0-e0x0-w_int-s0"


@once_per_precision
@given(case=strategies.conv_cases())
@strategies.with_corners("conv")
def test_build_conv(built, case):
    """Convolutions."""
    built(case)


@once_per_precision
@given(case=strategies.conv_transpose_cases())
@strategies.with_corners("conv_transpose")
def test_build_conv_transpose(built, case):
    """Transposed convolutions; a stride together with a dilation is refused."""
    built(case)


@once_per_precision
@given(case=strategies.pool_cases())
@strategies.with_corners("pool")
def test_build_pool(built, case):
    """Pools."""
    built(case)


@once_per_precision
@given(case=strategies.gemm_cases())
@example(case=Case.parse(SCALAR))
@strategies.with_corners("gemm")
def test_build_gemm(built, case):
    """Gemm and MatMul."""
    built(case)


@once_per_precision
@given(case=strategies.elementwise_cases())
@strategies.with_corners("elementwise")
def test_build_elementwise(built, case):
    """Arithmetic, activations, Clip, BatchNormalization, Concat, Softmax."""
    built(case)


@once_per_precision
@given(case=strategies.motif_cases())
@strategies.with_corners("motif")
def test_build_motif(built, case):
    """Fusion motifs."""
    built(case)


@once_per_precision
@given(case=strategies.batch_cases())
@strategies.with_corners("batch")
def test_build_batch(built, case):
    """Profiles of the batch at 1, 7 to 9, 31 to 33, 39 to 41 and 64."""
    built(case)


@hybrid
@pytest.mark.trt_precision("int8")
@once_per_precision
@given(case=strategies.conv_cases())
@strategies.with_corners("conv")
def test_build_hybrid_conv(built, hybrid, case):
    """Convolutions in INT8, and what is not INT8 in 16 bits."""
    built(case, hybrid)


@hybrid
@pytest.mark.trt_precision("int8")
@once_per_precision
@given(case=strategies.conv_transpose_cases())
@strategies.with_corners("conv_transpose")
def test_build_hybrid_conv_transpose(built, hybrid, case):
    """Transposed convolutions between INT8: they fall back to 16 bits."""
    built(case, hybrid)


@hybrid
@pytest.mark.trt_precision("int8")
@once_per_precision
@given(case=strategies.gemm_cases())
@example(case=Case.parse(SUBNORMAL))
@strategies.with_corners("gemm")
def test_build_hybrid_gemm(built, hybrid, case):
    """Gemm and MatMul in INT8, and what is not INT8 in 16 bits."""
    built(case, hybrid)


@hybrid
@pytest.mark.trt_precision("int8")
@once_per_precision
@given(case=strategies.motif_cases())
@strategies.with_corners("motif")
def test_build_hybrid_motif(built, hybrid, case):
    """Fusion motifs in INT8, and what is not INT8 in 16 bits."""
    built(case, hybrid)


@pytest.mark.parametrize("name", NETWORKS)
def test_build_network(targeted, record_support, trt_precision, name):
    """Trained networks with a dynamic batch: each convolution and matrix product is in the precision asked for."""
    _build_network(targeted, record_support, trt_precision, name)


@hybrid
@pytest.mark.trt_precision("int8")
@pytest.mark.parametrize("name", NETWORKS)
def test_build_hybrid_network(targeted, record_support, trt_precision, hybrid, name):
    """Trained networks in INT8 and 16 bits: no convolution or matrix product is left in float32."""
    _build_network(targeted, record_support, trt_precision, name, hybrid)


def _build_network(builder, record_support, precision, name, hybrid="off"):
    found = find_models()
    if isinstance(found, Missing):
        pytest.skip(f"{found.reason}; to get it: {found.mend}")
    network = next(model for model in found if model.name == name)
    result = build_twice(
        builder,
        network.model(),
        precision,
        network.input_shapes,
        network.profile,
        feed=network.inputs(),
        hybrid=hybrid,
    )
    record_support(name, name_asked(precision, hybrid), result.outcome)
    assert not result.complaints, result.explain(name)
    if hybrid != "off" and result.plan is not None:
        types = {kind for layer in result.plan.layers for kind in (*layer.inputs, *layer.outputs)}
        assert hybrid in types, f"no layer of {name} reads or writes {hybrid}, but {sorted(types)}"


@pytest.mark.trt_precision("int8")
@pytest.mark.parametrize("beside", ["off", "fp16", "bf16"])
@pytest.mark.parametrize("name", QUANTIZED)
def test_build_quantized_network(targeted, record_support, trt_precision, name, beside):
    """Networks that come with Q/DQ: residual, Concat, weights per channel of axis 0 and 1, as exporters write them."""
    model, shapes = quantized_networks()[name]
    result = build_twice(targeted, model, trt_precision, shapes, hybrid=beside)
    record_support(f"q/dq {name}", name_asked(trt_precision, beside), result.outcome)
    assert not result.complaints, result.explain(name)


def test_every_limit_holds(targeted, trt_precision):
    """Each row of the table at its boundary: the smallest model inside, and the one with one condition less."""
    _hold_limits(targeted, trt_precision, "off")


@hybrid
@pytest.mark.trt_precision("int8")
def test_every_hybrid_limit_holds(targeted, trt_precision, hybrid):
    """Each row of the table that speaks of INT8 together with a 16-bit type, at its boundary."""
    _hold_limits(targeted, trt_precision, hybrid)


def _hold_limits(builder, precision, hybrid):
    wrong = []
    facts = {"sm": builder.gpu.sm, "product": builder.product, "version": builder.version}
    for row in (row for row in table() if row.applies(precision, **facts, hybrid=hybrid)):
        for operator in row.operators if row.operators != ("*",) else ("Relu",):
            for inside in (True, False) if row.when else (True,):
                model, shapes = limit_example(operator, row.when, inside=inside)
                result = build_twice(builder, model, precision, shapes, hybrid=hybrid)
                named = any(limit is row for limit in result.expected.limits)
                if inside and not named:
                    wrong.append(f"[{row.name}] does not cover its own example with {operator}")
                wrong += [f"[{row.name}] {operator}: {line}" for line in result.complaints]
    assert not wrong, "\n".join(wrong)


@pytest.mark.trt_precision("tf32")
def test_tf32_changes_the_plan(targeted, trt_precision):
    """TF32 does not show in layer lists: its proof is the flag read back, and another plan than that of FP32."""
    case = Case.parse(GEMM)
    fp32, tf32 = (
        build_twice(targeted, case.model(), precision, case.input_shapes)
        for precision in ("fp32", trt_precision)
    )
    assert not fp32.complaints + tf32.complaints, tf32.explain(case.text)
    assert fp32.plan.data != tf32.plan.data, "the same plan with and without the builder flag TF32"


def test_compiler_output_is_captured(targeted, capfd):
    """What the compiler prints past the logger ends in the words of the refusal, not on the terminal."""
    case = Case.parse(STRIDED_DILATED)
    result = build_twice(targeted, case.model(), "fp16", case.input_shapes)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert not result.complaints, result.explain(case.text)
    if result.outcome == REFUSED:
        assert any("Strided & Dilated" in line for line in result.words)


def test_refusal_leaves_no_trace(targeted):
    """The same model gives the same plan before and after a build that was refused."""
    before, refused, after = _around_refusal(targeted, None)
    assert refused, "the deconvolution with stride and dilation was not refused"
    assert before == after


def test_refusal_for_turing_leaves_no_trace(targeted):
    """A refusal for SM75 changes nothing for the next build of the process, for another compute capability."""
    if not targeted.features.rtx or targeted.gpu.sm == 75:
        pytest.skip("not applicable: it takes a builder for two compute capabilities, SM75 and another")
    before, refused, after = _around_refusal(targeted, 75)
    assert refused, "the FP32 matrix product was not refused for SM75"
    if before != after and targeted.version.startswith("1.7."):
        pytest.xfail("TensorRT-RTX 1.7.1 builds the next model of the process by the rules of Turing")
    assert before == after


def _around_refusal(builder, sm):
    """Build a model, have another one refused (for `sm`, or for the GPU class), build the first one again."""
    case = Case.parse(DEPTHWISE)
    request = make_request(builder, case.model(), "fp16", case.input_shapes, None)
    victim = Case.parse(STRIDED_DILATED if sm is None else GEMM)
    bad = BuildRequest(model=victim.model().SerializeToString(), sm=sm)
    before, refusal, after = (attempt(builder, each) for each in (request, bad, request))
    return before.data, isinstance(refusal, Exception), after.data
