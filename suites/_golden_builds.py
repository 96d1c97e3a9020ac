"""The builds that goldens are kept of: few and fixed, one of each family, for Turing, Ada and Blackwell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from pytest_trt import hardware
from pytest_trt.cases.limits import REFUSED, compare, expected_outcome
from pytest_trt.cases.models import find_models
from pytest_trt.errors import GoldenError
from pytest_trt.golden.apart import Asked
from pytest_trt.golden.book import Book, Entry
from pytest_trt.golden.record import REGRESSION, Comparison, Golden
from pytest_trt.golden.travel import PROPERTY, write_entry
from pytest_trt.records import Missing
from pytest_trt.runtime.load import Runtime
from pytest_trt.strategies import Case

from ._quantized import quantized_networks

GPUS = ("t4", "l4", "rtx5090")  # SM75, SM89, SM120
FULL = "l4"  # the class with every precision and the networks
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "int8+fp16")
FEW = ("fp32", "fp16", "int8")
CASES = {
    "conv2d": "conv2d-n2-c9-o17-i7x6-k3x3-t1x1-p0x1x2x0-d1x1-g1-b1-w_int-s1",
    "conv2d-profile": "conv2d-n2-c16-o32-i6x6-k3x3-t2x1-p1x1x1x1-d1x2-g1-b1-q1x2x4-w_real-s2",
    "conv2d-depthwise": "conv2d-n1-c33-o33-i4x5-k3x3-t1x1-p1x0x1x2-d1x1-g33-b1-w_grid-s3",
    "conv1d-grouped": "conv1d-n3-c8-o12-i19-k4-t3-p2x0-d2-g4-b1-q1x3x5-w_grid-s5",
    "conv3d": "conv3d-n2-c4-o8-i4x5x3-k2x3x2-t1x2x1-p0x1x0x1x0x1-d1x1x1-g1-b1-w_int-s6",
    "deconv2d": "conv_transpose2d-n2-c8-o7-i4x3-k3x3-t2x3-p0x1x1x0-d1x1-g1-b1-e1x2-w_real-s1",
    "deconv1d": "conv_transpose1d-n2-c5-o9-i7-k4-t2-p1x0-d1-g1-b1-e1-w_int-s3",
    "max-pool": "max_pool2d-n3-c8-i5x6-k3x3-t2x2-p1x0x0x1-z1-y0-q1x3x4-w_int-s0",
    "average-pool": "average_pool2d-n2-c9-i7x6-k3x2-t2x2-p1x0x0x1-z0-y1-w_int-s0",
    "gemm": "gemm-n9-k129-o17-ta0-tb1-al4-be4-b1-q1x9x16-w_real-s1",
    "matmul": "matmul-n3-m8-k64-o31-i1-q1x3x3-w_int-s0",
    "layer-norm": "layer_norm-n3-c7x33-f2-q1x3x4-w_real-s3",
    "conv-bn-relu": "conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_real-s1",
    "conv-add-relu": "conv_add_relu-n3-c9-o1-i4x4-k3-lo0-hi1-q1x3x4-w_real-s2",
    "separable": "depthwise_separable-n2-c16-o9-i5x5-k3-lo0-hi1-w_grid-s4",
    # Refused by every version that was seen: the words are the golden.
    "deconv2d-strided-dilated": "conv_transpose2d-n1-c8-o8-i4x4-k3x3-t2x2-p0x0x0x0-d2x2-g1-b0-e0x0-w_int-s0",
}
QUANTIZED = ("residual", "matmul", "conv-transpose")  # with Q/DQ of their own
NETWORKS = ("fp16", "int8")
# What a quick run builds: one thing that each version of TensorRT-RTX answered in its own way, and one of each other outcome.
QUICK = ("parser", "conv2d", "gemm", "deconv2d-strided-dilated")


def list_builds(
    gpus: Iterable[str],
    precisions: Iterable[str],
    names: Sequence[str] | None = None,
    *,
    calibrates: bool = False,
) -> list[Asked]:
    """Return the builds that goldens are kept of.

    Parameters
    ----------
    gpus : iterable of str
        GPU classes, of `GPUS` or any other.
    precisions : iterable of str
        Of the session: `int8` stands for all that have INT8.
    names : sequence of str, optional
        Only these cases, without `build-`.
    calibrates : bool
        The builder still has calibrators, and executes: one build gets its INT8 scales from it.
    """
    wanted = set(precisions)
    made = []
    for gpu in gpus:
        every = PRECISIONS if gpu not in GPUS or gpu == FULL else FEW
        asked = tuple(one for one in every if one.partition("+")[0] in wanted)
        if "fp32" in wanted and (gpu == FULL or gpu not in GPUS):
            made.append(Asked("build-parser", gpu, "fp32"))
        for name, text in CASES.items():
            case = Case.parse(text)
            model = case.model()
            one = Asked(f"build-{name}", gpu, "fp32", model=_pack(model), profile=case.profile)
            made += [_at(one, word, model, case.input_shapes) for word in asked]
        if "int8" in wanted and calibrates:
            case = Case.parse(CASES["conv2d"])
            one = Asked("build-calibrated", gpu, "int8", model=_pack(case.model()), implicit=True)
            made.append(_at(one, "int8", case.model(), case.input_shapes))
        if "int8" in wanted:
            for name in QUANTIZED:
                model, _ = quantized_networks()[name]
                made.append(Asked(f"build-qdq-{name}", gpu, "int8", model=_pack(model)))
        if gpu == FULL or gpu not in GPUS:
            made += _networks(gpu, [one for one in NETWORKS if one in wanted])
    return made if names is None else [one for one in made if one.case.removeprefix("build-") in names]


def classes_of(rt: Runtime) -> tuple[str, ...]:
    """Return the GPU classes that a builder can be asked for: the fixed ones where it builds for others, else its own."""
    return GPUS if rt.features.compute_capabilities else (rt.gpu.name,)


def hold_builds(
    book: Book, made: Iterable[Golden], item: Any, note: Callable[[Any, Entry, Golden | None, Golden], None]
) -> list[Entry]:
    """Return how goldens of today lie beside those of a book, by key; each is put on the report of a test.

    Parameters
    ----------
    book : Book
    made : iterable of Golden
    item : pytest.Item
        The test.
    note : callable
        Tells a report of an upgrade of an entry, the older golden and today's.
    """
    held = []
    for golden in sorted(made, key=lambda one: one.key):
        # Without the name of the test: a quick run asks for few, and the others are not unused for that.
        then = _find(book, golden)
        entry = book.enter(golden, test=item.nodeid)
        item.user_properties.append((PROPERTY, write_entry(entry)))
        note(item, entry, then, golden)
        held.append(entry)
    return held


def find_known(rt: Runtime, asked: Sequence[Asked], comparison: Comparison) -> str:
    """Return the rows of the table of known limits by which a build is refused; empty where none is, or it is no refusal."""
    key = comparison.key
    one = next(one for one in asked if one.name == f"{key.case}/{key.precision}/{key.gpu}")
    refused = [line for line in comparison.why if "is refused" in line]
    if comparison.outcome != REGRESSION or not one.model or len(refused) != len(comparison.why):
        return ""
    expected = expected_outcome(
        onnx.load_model_from_string(one.model),
        one.precision,
        sm=hardware.get(one.gpu).sm,
        product=rt.product,
        version=rt.version,
        hybrid=one.hybrid,
    )
    if compare(expected, REFUSED, words=tuple(refused)):
        return ""
    return ", ".join(limit.name for limit in expected.refusals)


def _find(book: Book, today: Golden) -> Golden | None:
    try:
        return book.find(today.key)
    except GoldenError:
        return None


def _networks(gpu: str, precisions: Sequence[str]) -> list[Asked]:
    found = find_models()
    if isinstance(found, Missing):
        return []
    made = []
    for network in found:
        one = Asked(
            f"build-{network.name}", gpu, "fp32", model=_pack(network.model()), profile=network.profile
        )
        for word in precisions:
            made.append(replace(one, precision=word, feed=network.inputs() if word == "int8" else None))
    return made


def _at(one: Asked, word: str, model: ModelProto, shapes: dict[str, tuple[int, ...]]) -> Asked:
    precision, _, hybrid = word.partition("+")
    feed = _draw_feed(model, shapes) if precision == "int8" else None
    return replace(one, precision=precision, hybrid=hybrid or "off", feed=feed)


def _draw_feed(model: ModelProto, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Small integers: their sums are exact, so that the scales do not depend on who computes them."""
    rng = np.random.default_rng(0)
    return {
        value.name: rng.integers(-8, 9, shapes[value.name]).astype(np.float32)
        for value in model.graph.input
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name in shapes
    }


def _pack(model: ModelProto) -> bytes:
    return model.SerializeToString(deterministic=True)
