"""ONNX Runtime as it is asked for references and ranges: on the CPU, one thread, nothing rewritten."""

from __future__ import annotations

import onnxruntime
from onnx import ModelProto


def plain_session(model: ModelProto) -> onnxruntime.InferenceSession:
    """Return a session that computes a model as it is written.

    Raises
    ------
    Exception
        ONNX Runtime does not load the model: a class per error code, all private.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
