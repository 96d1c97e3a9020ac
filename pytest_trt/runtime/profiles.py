"""Optimization profiles: checked against the network, and handed to TensorRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

from pytest_trt.errors import ProfileError

Shape = Sequence[int]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]


def add_profiles(builder: Any, network: Any, config: Any, profiles: Sequence[Profile]) -> str | None:
    """Add optimization profiles to a config; returns None, or what TensorRT refused.

    Raises
    ------
    ProfileError
        A dynamic input has no shapes, a name is not an input, or the shapes do not fit it.
    """
    inputs = {}
    for position in range(network.num_inputs):
        tensor = network.get_input(position)
        inputs[str(tensor.name)] = tuple(int(extent) for extent in tensor.shape)
    dynamic = [name for name, shape in inputs.items() if -1 in shape]
    if not profiles and dynamic:
        raise ProfileError(
            f"input {dynamic[0]!r} has dynamic dimensions {inputs[dynamic[0]]} and no profile",
            mend=f"give profile={{{dynamic[0]!r}: (min, opt, max)}}, or inputs to take the shapes from",
        )
    for number, shapes in enumerate(profiles):
        check_profile(inputs, shapes)
        profile = builder.create_optimization_profile()
        if profile is None:
            return "did not make an optimization profile"
        for name, (low, typical, high) in shapes.items():
            profile.set_shape(name, tuple(low), tuple(typical), tuple(high))
        if config.add_optimization_profile(profile) != number:
            return f"did not take the optimization profile {dict(shapes)!r}"
    return None


def add_calibration_profile(builder: Any, config: Any, shapes: Profile) -> str | None:
    """Say at which shapes a calibrator's batches come: opt; returns None, or what TensorRT refused."""
    profile = builder.create_optimization_profile()
    if profile is None:
        return "did not make an optimization profile"
    for name, (_, typical, _) in shapes.items():
        profile.set_shape(name, tuple(typical), tuple(typical), tuple(typical))
    return None if config.set_calibration_profile(profile) else "did not take the calibration profile"


def read_profile(profile: Any) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Return what was given as a profile as name to (min, opt, max), tuples of int.

    Raises
    ------
    ProfileError
        It is no mapping, or a value is not three shapes of whole numbers.
    """
    if not isinstance(profile, Mapping):
        raise ProfileError(
            f"a profile of type {type(profile).__name__} cannot be used",
            mend="give a mapping of input name to (min, opt, max)",
        )
    read = {}
    for name, shapes in profile.items():
        try:
            low, typical, high = (tuple(index(extent) for extent in shape) for shape in shapes)
        except (TypeError, ValueError):
            raise ProfileError(
                f"the profile of {name!r} needs (min, opt, max), not {shapes!r}",
                why="each is a shape: a sequence of whole numbers",
            ) from None
        read[str(name)] = (low, typical, high)
    return read


def check_profile(inputs: Mapping[str, tuple[int, ...]], profile: Profile) -> None:
    """Raise `ProfileError` unless a profile fits the inputs (name to shape, -1 where dynamic)."""
    for name, shapes in read_profile(profile).items():
        if name not in inputs:
            raise ProfileError(
                f"the profile names {name!r}, which is not an input",
                why=f"inputs: {', '.join(sorted(inputs))}",
            )
        declared = inputs[name]
        for word, shape in zip(("min", "opt", "max"), shapes, strict=True):
            if len(shape) != len(declared):
                raise ProfileError(
                    f"{word} shape {tuple(shape)} of {name!r} has {len(shape)} axes, not {len(declared)}",
                    why=f"declared: {declared}, -1 is dynamic",
                )
            for axis, (extent, fixed) in enumerate(zip(shape, declared, strict=True)):
                if fixed not in (-1, extent) or extent < 0:
                    raise ProfileError(
                        f"{word} shape {tuple(shape)} of {name!r}: dimension {axis} is {fixed} in the model",
                        why=f"declared: {declared}, -1 is dynamic",
                    )
        for axis, (low, typical, high) in enumerate(zip(*shapes, strict=True)):
            if not low <= typical <= high:
                raise ProfileError(
                    f"the profile of {name!r} is not min <= opt <= max at dimension {axis}",
                    why=f"min {low}, opt {typical}, max {high}",
                )
    for name, declared in inputs.items():
        if -1 in declared and name not in profile:
            raise ProfileError(
                f"the profile lacks the dynamic input {name!r} {declared}",
                mend=f"add {name!r}: (min, opt, max)",
            )
