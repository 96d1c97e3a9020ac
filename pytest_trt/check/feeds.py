"""Inputs of a check: the caller's, held against the model, or drawn from the battery; and the profile they imply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS, Graph, Node, Shape
from pytest_trt.errors import InputError, ProfileError
from pytest_trt.numerics.battery import Scale, draw
from pytest_trt.numerics.formats import Array, round_to
from pytest_trt.runtime.profiles import check_profile as fit_profile
from pytest_trt.runtime.profiles import read_profile

Profile = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
# numpy has no bfloat16: such a tensor is fed and read as float32 whose values are bfloat16's.
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "float32", "fp64": "float64"} | {
    name: name for name in ("int8", "uint8", "int32", "int64", "bool")
}


def check_feeds(graph: Graph, inputs: Mapping[str, object]) -> dict[str, Array]:
    """Return the caller's inputs as arrays of the model's types.

    Raises
    ------
    InputError
        There is no mapping, or a name, a dtype or a shape is not the model's; names the tensor and what it should be.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"inputs of type {type(inputs).__name__} cannot be used",
            mend="give a mapping of input name to array: {"
            + ", ".join(f"{name!r}: array" for name in graph.inputs)
            + "}",
        )
    wanted = ", ".join(f"{name} {kind} {_words(shape)}" for name, (kind, shape) in graph.inputs.items())
    unknown = [name for name in inputs if name not in graph.inputs]
    if unknown:
        raise InputError(
            f"the model has no input {unknown[0]!r}", why=f"its inputs: {wanted}", mend="rename the key"
        )
    lacking = [name for name in graph.inputs if name not in inputs]
    if lacking:
        raise InputError(f"no data for input {lacking[0]!r}", why=f"the model's inputs: {wanted}")
    feeds: dict[str, Array] = {}
    for name, (kind, shape) in graph.inputs.items():
        array = np.asarray(inputs[name])
        dtype = DTYPES.get(kind)
        if dtype is not None and array.dtype != np.dtype(dtype):
            raise InputError(
                f"input {name!r} has dtype {array.dtype}, the model wants {dtype}",
                mend=f"{name}.astype(numpy.{dtype})",
            )
        if array.ndim != len(shape) or any(
            isinstance(d, int) and d != n for d, n in zip(shape, array.shape, strict=True)
        ):
            raise InputError(f"input {name!r} has shape {array.shape}, the model wants {_words(shape)}")
        feeds[name] = _on_grid(array, kind)
    return feeds


def _on_grid(array: Array, kind: str) -> Array:
    """Return the values as the engine gets them: bfloat16's are rounded on the way in."""
    if kind != "bf16":
        return array
    return np.asarray(round_to(array.astype(np.float64), kind).astype(np.float32))


def check_profile(graph: Graph, profile: Any) -> Profile | None:
    """Return a profile whose names, ranks and extents fit the model's inputs; None for none.

    Raises
    ------
    ProfileError
        It does not.
    """
    if profile is None:
        return None
    read = read_profile(profile)
    fit_profile(
        {
            name: tuple(d if isinstance(d, int) else -1 for d in shape)
            for name, (_, shape) in graph.inputs.items()
        },
        read,
    )
    return read


def _words(shape: Shape) -> str:
    return "(" + ", ".join("?" if d is None else str(d) for d in shape) + ")"


def shapes_for(
    graph: Graph, shapes: Mapping[str, Sequence[int]] | None, profile: Profile | None
) -> dict[str, tuple[int, ...]]:
    """Return a whole shape for each input: those given, else the profile's opt, else the model's own.

    Raises
    ------
    InputError
        An input has a dynamic dimension and neither a shape nor a profile; or a shape given is of no input, or not
        one that the model takes.
    """
    for name in shapes or ():
        if name not in graph.inputs:
            raise InputError(
                f"shapes name {name!r}, which is no input of the model",
                why=f"inputs: {', '.join(graph.inputs)}",
            )
    found: dict[str, tuple[int, ...]] = {}
    for name, (_, shape) in graph.inputs.items():
        if shapes is not None and name in shapes:
            found[name] = tuple(int(d) for d in shapes[name])
            if len(found[name]) != len(shape) or any(
                isinstance(d, int) and d != n for d, n in zip(shape, found[name], strict=True)
            ):
                raise InputError(f"shape {found[name]} of input {name!r} is not the model's {_words(shape)}")
        elif name not in graph.dynamic:
            found[name] = tuple(int(d) for d in shape if d is not None)
        elif profile is not None and name in profile:
            found[name] = tuple(profile[name][1])
        else:
            raise InputError(
                f"input {name!r} has dynamic dimensions {_words(shape)}, and neither inputs nor a profile give them sizes",
                mend=f"give inputs={{...}}, or profile={{{name!r}: (min, opt, max)}}",
            )
    return found


def profile_for(
    graph: Graph, shapes: Mapping[str, tuple[int, ...]], profile: Profile | None
) -> Profile | None:
    """Return the profile given, else one around the shapes: batch from 1, all other dimensions as they are.

    Raises
    ------
    ProfileError
        A shape lies outside the profile given (one that `check_profile` returned).
    """
    if profile is not None:
        for name, (least, _, most) in profile.items():
            got = shapes[name]
            if len(least) != len(got) or not all(
                a <= n <= b for a, n, b in zip(least, got, most, strict=True)
            ):
                raise ProfileError(
                    f"input {name!r} has shape {got}, outside the profile",
                    why=f"min {tuple(least)}, max {tuple(most)}",
                )
        return profile
    if not graph.dynamic:
        return None
    made: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {}
    for name in graph.dynamic:
        shape = shapes[name]
        least = (min(1, shape[0]), *shape[1:]) if graph.batch_symbol else shape
        made[name] = (least, shape, shape)
    return made


def describe_profile(profile: Profile | None) -> str:
    """Return a profile in words, for provenance."""
    if not profile:
        return "static"
    return "; ".join(f"{name} {least}..{most}" for name, (least, _, most) in profile.items())


def scale_of(graph: Graph) -> Scale:
    """Return what the weights of the first heavy operator say about the size of sums."""
    for node in graph.nodes:
        if node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return _weights_scale(graph, node)
    return Scale()


def _weights_scale(graph: Graph, node: Node) -> Scale:
    weight = graph.constant(node.inputs[1])
    if weight is None:
        known = graph.values.get(node.inputs[1])
        inner = [d for d in (known[1] if known else ()) if isinstance(d, int)]
        length = float(inner[-2] if len(inner) > 1 else 1)
        return Scale(length, float(np.sqrt(length)))
    values = np.abs(weight.mid)
    if node.op == "Conv":
        axes: tuple[int, ...] = tuple(range(1, values.ndim))
    elif node.op == "ConvTranspose":
        axes = (0, *range(2, values.ndim))
    else:
        axes = (-1,) if node.attributes.get("transB", 0) else (-2,)
    gain = float(values.sum(axis=axes).max())
    spread = float(np.sqrt((values**2).sum(axis=axes).max()))
    return Scale(gain, spread)


def draw_feeds(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]],
    kind: str,
    precision: str,
    scale: Scale,
    ranges: Mapping[str, float],
    rng: np.random.Generator,
) -> dict[str, Array]:
    """Return data of one kind for every input of a model.

    Raises
    ------
    InputError
        An input is not floating point: what it may hold is the caller's knowledge.
    """
    feeds: dict[str, Array] = {}
    for name, (type_, _) in graph.inputs.items():
        if type_ not in FLOAT_KINDS:
            raise InputError(
                f"input {name!r} is {type_}: no data can be drawn for it", mend="give inputs={...}"
            )
        own = Scale(scale.gain, scale.spread, ranges.get(name, 1.0))
        values = draw(kind, shapes[name], precision, own, rng)
        with np.errstate(over="ignore"):
            feeds[name] = _on_grid(np.asarray(values.astype(DTYPES[type_])), type_)
    return feeds
