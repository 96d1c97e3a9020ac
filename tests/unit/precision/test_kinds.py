"""What a layer is, by the kinds and names that TensorRT 8.6 to 11 and TensorRT-RTX give."""

from __future__ import annotations

import pytest

from pytest_trt.precision.kinds import is_generated, is_opaque, is_reformat, is_working, working_type
from pytest_trt.records import LayerInfo

WORKING = """
    CaskConvolution CaskGemmConvolution CaskFlattenConvolution CaskJitConv FusedConvActConvolution CudnnConvolution
    CublasConvolution CudaDepthwiseConvolution CaskDeconvolution CaskDeconvolutionV2 CudnnDeconvolution GemmDeconvolution
    FullyConnected CaskFullyConnected MatrixMultiply CaskGemmMatrixMultiply CublasMatrixMultiply Convolution Deconvolution
    gemm correlation deconv runtime_fusion
""".split()
OTHERS = """
    PointWise PointWiseV2 PWN Reformat Shuffle ElementWise Pooling CaskPooling TiledPooling SoftMax SoftMaxV2 TopK Reduce Scale
    Slice Gather Resize Concat Constant NoOp Quantize Dequantize Cast Activation LRN Identity PluginV2 PluginV3
    kgen noop shape_call pooling resize
""".split()


@pytest.mark.parametrize("kind", WORKING)
def test_kinds_that_multiply(kind):
    assert is_working(LayerInfo("a", kind)) and not is_opaque(LayerInfo("a", kind))


@pytest.mark.parametrize("kind", OTHERS)
def test_kinds_that_do_not(kind):
    assert not is_working(LayerInfo("a", kind)) and not is_opaque(LayerInfo("a", kind))


@pytest.mark.parametrize(
    ("name", "working", "moves"),
    [
        ("__myl_FcAdd_myl0_4", True, False),
        ("__myl_Fc_myl3_1", True, False),
        ("_gemm_mha_v2_myl0_172", True, False),
        ("__myl_MeanSubMulMean_myl0_3", False, False),
        ("__myl_MulMinMaxRounCast_myl0_0", False, False),
        ("__myl_Cast_myl0_0", False, True),
        ("__myl_Move_myl0_0", False, True),
        ("__myl_TranReshMove_myl3_3", False, True),
        ("__myl_TranMean_myl0_4", False, False),
        ("kernel", False, False),
    ],
)
def test_generated_kernels_say_in_their_names_what_they_do(name, working, moves):
    layer = LayerInfo(name, "kgen")
    assert (is_working(layer), is_reformat(layer), is_generated(layer)) == (working, moves, not working)


@pytest.mark.parametrize("kind", ["Reformat", "Cast"])
def test_layers_that_only_change_type_or_format(kind):
    assert is_reformat(LayerInfo("Reformatting CopyNode for Input Tensor 0 to a", kind))


@pytest.mark.parametrize(
    ("name", "kind"), [("{ForeignNode[a...b]}", "Myelin"), ("{ForeignNode[a]}", "gemm"), ("conv + relu", "?")]
)
def test_layers_that_hide_what_they_do(name, kind):
    assert is_opaque(LayerInfo(name, kind, inputs=("fp16",)))


@pytest.mark.parametrize(
    ("inputs", "constants", "tactic", "kind"),
    [
        (("int8", "fp32"), ("fp32",), "", "int8"),
        (("?",), ("fp16",), "", "fp16"),
        (("?",), (), "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwc", "fp16"),
        (("?",), (), "sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n", "bf16"),
        (("?",), (), "sm75_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32", "int8"),
        (("?",), (), "sm89_xmma_gemm_e4m3e4m3_e4m3f32_f32_tn_n", "fp8"),
        (("?",), (), "__myelin_CASK_STUB", "?"),
        ((), (), "", "?"),
        (("fp32",), ("fp32",), "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize32x32x64", "tf32"),
        (("fp32",), ("fp32",), "sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x32x8", "fp32"),
        (("?",), (), "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n", "tf32"),
        (("fp16",), ("fp16",), "emulated_direct_fp16", "fp16"),
        (("fp32",), (), "emulated_direct_tf32", "tf32"),
    ],
)
def test_type_that_a_layer_works_in(inputs, constants, tactic, kind):
    assert working_type(LayerInfo("a", "gemm", inputs, (), tactic, constants=constants)) == kind
