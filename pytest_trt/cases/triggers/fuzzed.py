"""Bugs that fuzzing found, of single operators. Of NVIDIA/TensorRT issue 1738 no graph is known here."""

from __future__ import annotations

import numpy as np

from pytest_trt.cases.triggers.nets import BOOL, FLOAT, HALF, INT64, integers, net, node
from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.numerics.formats import Array


def _halves(shape: tuple[int, ...], seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float16))


@trigger("B50", precisions="fp16", faults="mean_of_tensors_rounds_each_sum")
def mean_of_half_tensors_is_right(trial: Trial) -> None:
    """Mean of FP16 tensors, of equal shapes and of shapes that are broadcast, is their mean (issue 4509)."""
    shape = (2, 3, 4, 5)
    for shapes in ((shape, shape), (shape, shape, shape), (shape, (1, 3, 1, 5), (4, 1))):
        names = "abc"[: len(shapes)]
        model = net(
            [node("Mean", " ".join(names), "y")],
            {name: (HALF, list(extent)) for name, extent in zip(names, shapes, strict=True)},
            {"y": (HALF, list(shape))},
        )
        trial.check(
            model,
            {
                name: _halves(extent, seed)
                for seed, (name, extent) in enumerate(zip(names, shapes, strict=True))
            },
        )


@trigger("B50", precisions="fp32 fp16", faults="or_takes_its_first_operand boolean_output_left_false")
def or_and_its_cast_are_right_as_two_outputs(trial: Trial) -> None:
    """Or of a condition from a Cast and a broadcast constant, and the Cast of it, are both right as outputs (issue 4512)."""
    # The thread shows (1, 3, 4, 4) and that the Cast alone was right; types and constant are in an image.
    shape = (1, 3, 4, 4)
    nodes = [
        node("Cast", "x", "left", to=BOOL),
        node("Or", "left right", "y"),
        node("Cast", "y", "cast_y", to=FLOAT),
    ]
    x = integers(shape, 1) / 2
    for extent in ((1, 3, 4, 4), (1, 3, 1, 4), (4, 1)):
        right = integers(extent, 1, 1) > 0
        model = net(nodes, {"x": shape}, {"y": (BOOL, shape), "cast_y": shape}, {"right": right})
        trial.check(model, {"x": x})


@trigger("B50", precisions="fp32 fp16", faults="scattered_last_update_lost")
def scatter_writes_every_update(trial: Trial) -> None:
    """ScatterND of two slices of (4, 4) into (4, 4, 4) puts both, and nothing else, in place (issue 3462)."""
    data, updates = integers((4, 4, 4), 8), 16 + integers((2, 4, 4), 8, 1)
    feeds = {"data": data, "updates": updates}
    shapes = {"data": data.shape, "updates": updates.shape}
    scatter = node("ScatterND", "data indices updates", "y")
    for rows in ([[0], [2]], [[3], [0]], [[-1], [1]]):
        indices = np.array(rows, np.int64)
        trial.check(net([scatter], shapes, {"y": data.shape}, {"indices": indices}), feeds)
        if hasattr(
            trial.rt.trt.DataType, "INT64"
        ):  # as in the thread; TensorRT 8.6 makes INT32 of such an input
            model = net([scatter], {**shapes, "indices": (INT64, [2, 1])}, {"y": data.shape})
            trial.check(model, {**feeds, "indices": indices})


@trigger("B50", precisions="fp32 fp16", faults="uneven_split_off_by_one")
def split_of_seven_in_four_ends_with_one(trial: Trial) -> None:
    """Split of 7 elements in 4 parts by `num_outputs` gives 2, 2, 2 and 1, as ONNX Split-18 says (issue 3466)."""
    parts = [f"part{i}" for i in range(4)]
    model = net(
        [node("Split", "x", " ".join(parts), num_outputs=4)],
        {"x": [7]},
        {name: [1 if name == parts[-1] else 2] for name in parts},
        opset=18,
    )
    trial.check(model, {"x": np.arange(1, 8).astype(np.float32)})


@trigger("B50", precisions="fp32 fp16", fidelity=STAND_IN, faults="scalar_output_zero")
def scalar_output_is_written(trial: Trial) -> None:
    """A network that ends in one number without dimensions writes it, and not 0 (issue 4473)."""
    # The thread shows its graph as an image: all that is known is one float32 number of no dimensions, and 0 in its place.
    model = net(
        [node("Sigmoid", "x", "gate"), node("ReduceMean", "gate", "y", keepdims=0)],
        {"x": [3, 4, 5]},
        {"y": []},
    )
    trial.check(model, {"x": integers((3, 4, 5), 4) / 2})
