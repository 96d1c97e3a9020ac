"""One node: its limits in a storage type, and what ONNX Runtime gives for it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check import operators
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import HANDLERS, Step
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.numerics.bounds import Bound, Contract, store
from pytest_trt.numerics.formats import FORMATS, round_to
from pytest_trt.numerics.judge import measure

assert operators.MODULES  # the import registers the handlers


class OneNode:
    """An operator on float inputs `x0`, `x1`, ...; constants follow, None leaves an input out."""

    def __init__(self, op, *inputs, constants=(), opset=18, **attributes):
        self.feeds = {f"x{i}": np.asarray(v, np.float32) for i, v in enumerate(inputs)}
        names = list(self.feeds)
        tensors = []
        for i, values in enumerate(constants):
            names.append("" if values is None else f"c{i}")
            if values is not None:
                tensors.append(numpy_helper.from_array(np.asarray(values), f"c{i}"))
        if op == "Where":  # the condition comes first
            names = [*names[2:], *names[:2]]
        node = helper.make_node(op, names, ["y"], **attributes)
        given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in self.feeds.items()]
        graph = helper.make_graph(
            [node], "g", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors
        )
        self.graph = Graph(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        )

    def limits(self, kind="fp32", contract=None, **given):
        """Return the limits in a type; `given` are bounds of inputs that are not known exactly."""
        node = self.graph.nodes[0]
        args = []
        for name in node.inputs:
            values = self.feeds.get(name)
            if name in given:
                args.append(given[name])
            elif values is not None:
                args.append(Bound.exact(round_to(values.astype(np.float64), kind), kind))
            else:
                args.append(self.graph.constant(name) if name else None)
        with np.errstate(all="ignore"):
            made = HANDLERS[node.op](Step(node, tuple(args), contract or Contract(), kind, self.graph.opset))
        if not made:
            return None
        return store(made[0], kind) if made[0].kind in FORMATS else made[0]

    def run(self, kind="fp32"):
        """Return ONNX Runtime's result in FP32 on inputs of the type, before it is stored."""
        fed = {n: np.asarray(round_to(v.astype(np.float64), kind), np.float32) for n, v in self.feeds.items()}
        return OnnxRuntime(self.graph).run(fed)["y"].astype(np.float64)


def refused(values, limits, kind="fp32"):
    """Return how many elements the limits refuse, once the values are stored in the type."""
    if limits.kind in FORMATS:
        with np.errstate(all="ignore"):
            values = round_to(np.asarray(values, dtype=np.float64), kind)
    return measure(values, limits).bad
