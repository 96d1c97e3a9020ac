"""The clock of the emulated device: what the host measures, or what the work would take."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from pytest_trt.emulator.clock import Clock, multiplications
from pytest_trt.emulator.lowering import Step


def step(op_type, shapes, output):
    """A step whose operands are zeros of these shapes, with the arrays that it read and gave."""
    names = [f"i{number}" for number in range(len(shapes))]
    node: onnx.NodeProto = helper.make_node(op_type, names, ["y"], name="n")
    inputs = {name: np.zeros(shape, "f4") for name, shape in zip(names, shapes, strict=True)}
    return Step(node, "fp32"), inputs, {"y": np.zeros(output, "f4")}


@pytest.mark.parametrize(
    ("op_type", "shapes", "output", "products"),
    [
        ("Conv", [(2, 4, 6, 6), (8, 4, 3, 3)], (2, 8, 4, 4), 256 * 36),
        ("Conv", [(1, 4, 6, 6), (4, 1, 3, 3)], (1, 4, 4, 4), 64 * 9),
        ("ConvTranspose", [(1, 4, 3, 3), (4, 8, 2, 2)], (1, 8, 4, 4), 36 * 32),
        ("MatMul", [(5, 7), (7, 3)], (5, 3), 15 * 7),
        ("MatMul", [(2, 5, 7), (2, 7, 3)], (2, 5, 3), 30 * 7),
        ("Gemm", [(5, 7), (3, 7), (3,)], (5, 3), 15 * 7),
        ("Relu", [(5, 7)], (5, 7), 35),
    ],
)
def test_products_are_counted(op_type, shapes, output, products):
    assert multiplications(*step(op_type, shapes, output)) == products


def test_a_product_whose_weights_are_not_read_counts_its_outputs():
    conv, inputs, outputs = step("Conv", [(1, 4, 6, 6), (8, 4, 3, 3)], (1, 8, 4, 4))
    del inputs["i1"]
    assert multiplications(conv, inputs, outputs) == 128


def test_the_host_is_believed_unless_times_are_modelled():
    clock, work = Clock(), step("Relu", [(5, 7)], (5, 7))
    assert clock.seconds(*work, 0.25) == 0.25
    with clock.modelled(), clock.modelled():
        assert clock.is_modelled
        assert clock.seconds(*work, 0.25) == clock.seconds(*work, 0.5) == pytest.approx(2e-6 + 280 / 1e11)
    assert clock.seconds(*work, 0.25) == 0.25


def test_modelled_times_end_with_the_block_also_when_it_fails():
    clock = Clock()
    with pytest.raises(RuntimeError), clock.modelled():
        raise RuntimeError
    assert not clock.is_modelled
