"""The ONNX operator specification as examples: the node cases of the installed `onnx` package.

Claims: the operators that TensorRT's parser takes are those of its list (onnx-tensorrt, docs/operators.md), each computes what
the ONNX operator specification says, and what is not supported is refused in words (onnx/onnx, docs/OnnxBackendTest.md). The
cases run in processes of their own, so that none can end this one. The quick budget draws some, by the seed; the others run all.
The whole table, to be kept and compared between versions, comes from `python -m pytest_trt nodes`.
"""

from __future__ import annotations

import pytest

from pytest_trt.cases.nodes_table import BUILD, EXECUTE, make_table
from pytest_trt.report.sections import attach

from ._named import demand, demand_built
from ._onnx_nodes import choose, compare_kept, judge_table, kept_table, tell


def test_executed_nodes(trt_runtime, trt_settings, request):
    """Node cases are right or refused in words, and none crashes or hangs; on the emulator, or a TensorRT with a GPU."""
    if trt_runtime.emulated and trt_runtime.device != "cpu":
        pytest.skip(
            "not applicable: the emulator's table is made on the CPU; on a GPU it would be one of ONNX Runtime's kernels"
        )
    table = make_table(trt_settings, trt_runtime, EXECUTE, choose(trt_settings))
    attach(request.node, tell(table))
    demand(judge_table(table), request)


def test_built_nodes(targeted, trt_settings, request):
    """Node cases build or are refused in words, as the table that is kept of this TensorRT says; built without a GPU."""
    if targeted.can_execute:
        pytest.skip(f"not applicable: {targeted.title} executes, and builds what it executes")
    kept = kept_table(targeted)
    table = make_table(trt_settings, targeted, BUILD, choose(trt_settings), repeat=kept is None)
    attach(request.node, tell(table))
    demand_built(judge_table(table) + ([] if kept is None else compare_kept(table, kept)))
