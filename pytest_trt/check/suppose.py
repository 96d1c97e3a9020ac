"""What well-known wrong kernels would have given for a tensor, held against what the engine gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pytest_trt.check.evidence import Evidence
from pytest_trt.check.graph import Node
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Float64, round_to

_UNARY = frozenset("Relu LeakyRelu Clip HardSwish HardSigmoid Sigmoid Tanh Elu".split())


def suppose_kernels(seen: Evidence) -> str:
    """Return the words of the first wrong kernel whose values the bad elements have; empty where none does."""
    for words, fits in _suppositions(seen):
        if fits:
            return words
    return ""


def _suppositions(seen: Evidence) -> Iterator[tuple[str, bool]]:
    last = seen.stem
    if last is not None and seen.name not in seen.known:
        yield from _epilogue(seen, last)
    node = seen.products
    if node is None:
        return
    x, w, b = (seen.argument(node, position) for position in range(3))
    if x is None or w is None:
        return
    yield from _operands(seen, node, x, w)
    if b is not None:
        yield from _biases(seen, node.inputs[2], b)
    yield from _weights(seen, node, w)
    yield from _geometry(seen, node, w)


def _epilogue(seen: Evidence, last: Node) -> Iterator[tuple[str, bool]]:
    if last.op in _UNARY:
        yield f"{last.op} left out", seen.is_explained(seen.argument(last, 0))
    if last.op == "Add":
        for position in (0, 1):
            other = last.inputs[1 - position]
            alone = Node("Identity", last.name, (other,), last.outputs, {})
            is_bias = last.inputs[position] in seen.graph.initializers
            yield f"{'bias' if is_bias else 'residual'} left out", seen.suppose_node(last, alone)


def _operands(seen: Evidence, node: Node, x: Bound, w: Bound) -> Iterator[tuple[str, bool]]:
    if x.scale is not None or w.scale is not None or not (x.is_exact and w.is_exact):
        return
    rounded = []
    if x.kind == "fp32" and not seen.contract.tf32:
        rounded += [("operands read with the 10 bits of TF32", "tf32"), ("operands rounded to fp16", "fp16")]
    if x.kind in ("fp32", "fp16"):
        rounded += [("operands rounded to bf16", "bf16")]
    for words, kind in rounded:
        both = {n: _exact(round_to(v.mid, kind), v) for n, v in zip(node.inputs, (x, w), strict=False)}
        yield words, seen.suppose(both)
        if kind == "tf32":
            both = {n: _exact(_cut(v.mid), v) for n, v in zip(node.inputs, (x, w), strict=False)}
            yield words, seen.suppose(both)


def _cut(values: Float64) -> Float64:
    """Return FP32 values without the 13 bits that TF32 lacks."""
    bits = values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)
    return np.asarray(bits.view(np.float32), dtype=np.float64)


def _exact(values: Float64, like: Bound) -> Bound:
    return Bound.exact(values, like.kind, like.scale)


def _biases(seen: Evidence, name: str, b: Bound) -> Iterator[tuple[str, bool]]:
    yield "bias left out", seen.suppose({name: _exact(np.zeros(b.mid.shape), b)})
    yield "bias added twice", seen.suppose({name: _exact(2 * b.mid, b)})
    for step in (1, -1):
        moved = _exact(np.roll(b.mid, step, axis=-1), b)
        yield "bias of the neighbouring channel", seen.suppose({name: moved})
    yield "bias rounded to bf16", seen.suppose({name: _exact(round_to(b.mid, "bf16"), b)})


def _reduced_axis(node: Node, w: Bound) -> int:
    """Return the axis of the weights that is summed over channel by channel."""
    if node.op == "Conv":
        return 1
    if node.op == "ConvTranspose":
        return 0
    if node.op == "Gemm" and node.attributes.get("transB", 0):
        return w.mid.ndim - 1
    return max(0, w.mid.ndim - 2)


def _weights(seen: Evidence, node: Node, w: Bound) -> Iterator[tuple[str, bool]]:
    name, axis = node.inputs[1], _reduced_axis(node, w)
    length = w.mid.shape[axis]
    drops = [(length - 1, "the last input channel left out of the sum")]
    drops += [
        (length // block * block, f"input channels behind the last multiple of {block} left out of the sum")
        for block in (8, 16, 32)
        if length % block and length > block
    ]
    for start, words in drops:
        keep = (np.arange(length) < start).reshape([-1 if a == axis else 1 for a in range(w.mid.ndim)])
        if length > 1:
            yield words, seen.suppose({name: _exact(w.mid * keep, w)})
    if node.op in ("Conv", "ConvTranspose") and np.prod(w.mid.shape[2:]) > 1:
        spatial = tuple(range(2, w.mid.ndim))
        yield "kernel turned by 180 degrees", seen.suppose({name: _exact(np.flip(w.mid, spatial), w)})
        if w.mid.ndim == 4 and w.mid.shape[2] == w.mid.shape[3]:
            yield "kernel transposed", seen.suppose({name: _exact(w.mid.swapaxes(2, 3), w)})


def _geometry(seen: Evidence, node: Node, w: Bound) -> Iterator[tuple[str, bool]]:
    if node.op != "Conv":
        return
    rank = w.mid.ndim - 2
    pads, ones = node.ints("pads", (0,) * 2 * rank), (1,) * rank
    swapped = (*pads[rank:], *pads[:rank])
    if swapped != pads:
        yield "pads at the beginning and the end exchanged", _with(seen, node, pads=swapped)
    for words, key in (("strides", "strides"), ("dilations", "dilations")):
        steps = node.ints(key, ones)
        if steps != steps[::-1]:
            yield f"{words} of height and width exchanged", _with(seen, node, **{key: steps[::-1]})


def _with(seen: Evidence, node: Node, **attributes: tuple[int, ...]) -> bool:
    changed = replace(node, attributes={**node.attributes, **attributes})
    try:
        return seen.suppose_node(node, changed)
    except (ValueError, IndexError):
        return False  # shapes no longer fit: the engine cannot have computed that
