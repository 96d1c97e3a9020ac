"""What is asked of each library, and in which words: nothing else in this package knows their signatures."""

from __future__ import annotations

import inspect
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from pytest_trt.precision import graph as graphs
from pytest_trt.precision.draw import draw_feed, find_shapes

MODELOPT_COMMAND = 'pip install "nvidia-modelopt[onnx]"'

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
# The least that ONNX Runtime's converter takes; weights are rounded anew behind it.
_LEAST = 5.96e-08


def find_library_lack(rewriter: str, precision: str) -> tuple[str, str] | None:
    """Return what a rewriter lacks for a precision and how to get it, None if nothing."""
    if rewriter == "onnxruntime" and precision == "bf16":
        return (
            "onnxruntime has no converter to bf16",
            "--trt-rewriter=builtin, or --trt-rewriter=modelopt",
        )
    if rewriter == "modelopt" and not _has_modelopt():
        return "the rewriter modelopt is not installed", MODELOPT_COMMAND
    return None


def _has_modelopt() -> bool:
    try:
        return find_spec("modelopt.onnx") is not None
    except (ImportError, ValueError):
        return False


def _retype_by_onnxruntime(
    model: ModelProto, precision: str, kept: Collection[str], nodes: list[str]
) -> ModelProto:
    from onnxruntime.transformers import float16

    blocked = sorted({*float16.DEFAULT_OP_BLOCK_LIST, *kept})
    with _quiet():
        made: ModelProto = float16.convert_float_to_float16(
            model,
            min_positive_val=_LEAST,
            max_finite_val=65504.0,
            keep_io_types=True,
            op_block_list=blocked,
            node_block_list=nodes,
        )
    return made


def _retype_by_modelopt(
    model: ModelProto, precision: str, kept: Collection[str], nodes: list[str]
) -> ModelProto:
    autocast = import_module("modelopt.onnx.autocast")
    with _quiet():
        made: ModelProto = autocast.convert_to_f16(
            model, low_precision_type=precision, keep_io_types=True, op_block_list=sorted(kept)
        )
    return made


def _place_by_onnxruntime(model: ModelProto, keep: list[str]) -> ModelProto:
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.calibrate import TensorsData

    kinds = {node.op_type for node in model.graph.node}
    chosen = sorted(kinds & {*PRODUCTS, *_POOLS})
    # The numbers are written later: every float tensor has the same range here.
    one = (np.float32(-1.0), np.float32(1.0))
    types = graphs.element_types(model)
    spans = {name: one for name, kind in types.items() if kind == TensorProto.FLOAT}
    biases = _take_biases(model)
    given: dict[str, Any] = {
        "model": model,
        "per_channel": True,
        "reduce_range": False,
        "weight_qType": ort.QuantType.QInt8,
        "activation_qType": ort.QuantType.QInt8,
        "tensors_range": TensorsData(ort.CalibrationMethod.MinMax, spans),
        "nodes_to_quantize": [node.name for node in model.graph.node],
        "nodes_to_exclude": keep,
        "op_types_to_quantize": chosen,
        "extra_options": {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            # TensorRT takes the output of a product in float, behind what it fuses there.
            "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
            "QDQKeepRemovableActivations": True,
        },
    }
    # Up to 1.17 the class served the integer format too.
    old = {"mode": ort.quant_utils.QuantizationMode.QLinearOps, "static": True}
    takes = inspect.signature(ort.QDQQuantizer.__init__).parameters
    with _quiet():
        quantizer = ort.QDQQuantizer(**given, **{name: value for name, value in old.items() if name in takes})
        quantizer.quantize_model()
    made: ModelProto = quantizer.model.model
    _give_biases(made, biases)
    return made


def _place_by_modelopt(model: ModelProto, keep: list[str]) -> ModelProto:
    quantization = import_module("modelopt.onnx.quantization")
    # It calibrates; the numbers are written later, so that any data will do.
    feed = draw_feed(model, find_shapes(model), np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, "model.onnx"), Path(folder, "quantized.onnx")
        onnx.save(model, str(source))
        quantization.quantize(
            str(source),
            quantize_mode="int8",
            calibration_data=feed,
            calibration_method="max",
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            nodes_to_exclude=[f"^{re.escape(name)}$" for name in keep],
            output_path=str(target),
            log_level="ERROR",
        )
        return onnx.load(str(target)) if target.exists() else model


RETYPERS: dict[str, Callable[[ModelProto, str, Collection[str], list[str]], ModelProto]] = {
    "onnxruntime": _retype_by_onnxruntime,
    "modelopt": _retype_by_modelopt,
}
PLACERS: dict[str, Callable[[ModelProto, list[str]], ModelProto]] = {
    "onnxruntime": _place_by_onnxruntime,
    "modelopt": _place_by_modelopt,
}


def _take_biases(model: ModelProto) -> dict[str, str]:
    """Take the biases off, node name to bias: ONNX Runtime would make them int32, which TensorRT does not read.

    Its option against that (`QuantizeBias`) came with 1.19.
    """
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS and len(node.input) > 2 and node.input[2]:
            found[node.name] = node.input[2]
            del node.input[2:]
    return found


def _give_biases(model: ModelProto, biases: dict[str, str]) -> None:
    for node in model.graph.node:
        if node.name in biases:
            node.input.append(biases[node.name])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' progress reports and deprecations off the terminal for a while; each has loggers of its own levels."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library should no longer call is not the user's to mend
            yield
    finally:
        logging.disable(before)
