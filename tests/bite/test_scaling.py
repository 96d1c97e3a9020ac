"""Every linear network of a check is asked whether it scales with its inputs; other networks are not."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check.graph import Graph
from pytest_trt.check.relations import SCALED
from pytest_trt.check.scaling import scales
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case

PLAIN = Case.parse("conv2d-n2-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b0-w_int-s1")
REAL = Case.parse("conv2d-n2-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b0-w_real-s1")
BIASED = Case.parse("conv2d-n2-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-w_int-s1")


def gives_more_below_one(site):
    """Outputs of runs with no input beyond 2 are one too large."""
    if site.kind == "execute" and all(0 < np.abs(x).max() == 2 for x in site.inputs.values()):
        for values in site.outputs.values():
            values += 1


def verdict(case, precision, *faults):
    made = Settings(runtime="emulator", gpu="t4", faults=faults)
    return Workbench(made, discover(made)).judge(
        case.model(), precision=precision, shapes=case.input_shapes, data=("uniform11",)
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_kernel_that_depends_on_the_size_of_its_inputs(precision):
    assert SCALED in verdict(PLAIN, precision).relations
    found = verdict(PLAIN, precision, f"{__name__}:gives_more_below_one").findings
    assert {each.check for each in found} == {SCALED}


@pytest.mark.parametrize(("case", "precision"), [(BIASED, "fp32"), (PLAIN, "int8"), (REAL, "fp16")])
def test_what_need_not_scale_is_not_asked(case, precision):
    assert SCALED not in verdict(case, precision).relations


def graph(*nodes, constants=(), kind=TensorProto.FLOAT, outputs=("y",)):
    """Return a graph of nodes (operator, inputs, output) on x and z, each (2, 4)."""
    made = [
        helper.make_node(op, ins, [out], **more) for op, ins, out, *rest in nodes for more in (rest or [{}])
    ]
    ports = [helper.make_tensor_value_info(name, kind, (2, 4)) for name in ("x", "z")]
    ends = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    model = helper.make_model(helper.make_graph(made, "g", ports, ends, held))
    return Graph(model)


W = ("w", np.ones((4, 4), np.float32))
HALF = ("h", np.float32([0.5]))


@pytest.mark.parametrize(
    ("made", "fp32", "fp16"),
    [
        (graph(("MatMul", ["x", "w"], "y"), constants=[W]), True, True),
        (graph(("Add", ["x", "z"], "a"), ("Relu", ["a"], "y")), True, True),
        (graph(("Mul", ["x", "h"], "y"), constants=[HALF]), True, False),
        (graph(("LeakyRelu", ["x"], "y")), True, False),
        (graph(("Div", ["h", "x"], "y"), constants=[HALF]), False, False),
        (graph(("Mul", ["x", "z"], "y")), False, False),
        (graph(("Add", ["x", "h"], "y"), constants=[HALF]), False, False),
        (graph(("Gemm", ["x", "w"], "y", {"alpha": 2.0}), constants=[W]), False, False),
        (graph(("Exp", ["x"], "y")), False, False),
        (graph(("Relu", ["x"], "y"), kind=TensorProto.INT32), False, False),
        (graph(("Relu", ["x"], "y"), ("Identity", ["h"], "c"), constants=[HALF], outputs=("y", "c")), False, False),
    ],
)  # fmt: skip
def test_which_networks_scale(made, fp32, fp16):
    assert (scales(made, "fp32"), scales(made, "fp16"), scales(made, "int8")) == (fp32, fp16, False)
