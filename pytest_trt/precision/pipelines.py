"""Hold the preprocessing of calibration against that of inference, bit by bit, and guess what they do differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.errors import InputError

Array = NDArray[Any]
Preprocess = Callable[[Any], "Array | Mapping[str, Array]"]

# A relation holds where it leaves less than this share of the largest value: float32 arithmetic in another order.
_REST = 1e-4
# Fewer different values than this fit any relation.
_LEAST_VALUES = 8


@dataclass(frozen=True)
class PipelineComparison:
    """Whether two preprocessings gave the same arrays, and where they first did not.

    Attributes
    ----------
    samples, differing : int
        How many raw samples were compared, and how many came out different in at least one bit.
    sample : int
        The first that did, -1 for none. What follows is of this one.
    input : str
        Input name, empty where the functions return one array.
    index : tuple of int
        The first element that differs; empty where shapes or types do.
    got, want : str
        What calibration and what inference gave there: a value, a shape or a type.
    max_difference : float
        Over the whole array; infinite where the shapes differ or only one side is finite.
    guess : str
        What the two may do differently; empty where no simple relation holds.
    """

    samples: int
    differing: int = 0
    sample: int = -1
    input: str = ""
    index: tuple[int, ...] = ()
    got: str = ""
    want: str = ""
    max_difference: float = 0.0
    guess: str = ""

    @property
    def same(self) -> bool:
        """True where no bit differs."""
        return self.differing == 0


def compare_pipelines(
    calibration: Preprocess, inference: Preprocess, raw_samples: Iterable[Any]
) -> PipelineComparison:
    """Return how the preprocessing of calibration and that of inference compare on the same raw samples.

    Parameters
    ----------
    calibration, inference : callable
        Raw sample to array, or to input name and array.
    raw_samples : iterable
        As the application reads them. Each function is given each sample, calibration first.

    Raises
    ------
    InputError
        There are no samples, or a function returns neither an array nor a mapping of arrays.
    """
    count = differing = 0
    first: PipelineComparison | None = None
    for raw in raw_samples:
        got, want = _named(calibration(raw), "calibration"), _named(inference(raw), "inference")
        difference = _difference(got, want)
        if difference is not None:
            differing += 1
            first = first or replace(difference, sample=count)
        count += 1
    if not count:
        raise InputError("no raw samples, so two pipelines cannot be compared", mend="raw=[sample, ...]")
    return replace(first or PipelineComparison(0), samples=count, differing=differing)


def guess_difference(got: Array, want: Array) -> str:
    """Return what could turn `got` into `want`, in words; empty where no simple relation does.

    Tried are the type, the layout, the channel order, a factor and a normalisation, one for all values or one a channel,
    and pairs of these; the simplest that holds is told.
    """
    if got.shape == want.shape and np.array_equal(got, want):
        return f"the types differ: {got.dtype} and {want.dtype}"
    moves = list(_moves(got.astype(np.float64), want.shape))
    target = want.astype(np.float64)
    if not np.isfinite(target).all() or not np.isfinite(got.astype(np.float64)).all():
        return ""
    if len(np.unique(target)) < _LEAST_VALUES:
        return ""
    for words, moved in moves:
        if words and _close(moved, target):
            return words
    for fit in (_fit_factor, _fit_normalisation, _fit_channels):
        for words, moved in moves:
            relation = fit(moved, target)
            if relation:
                return f"{words}, and {relation}" if words else relation
    return ""


def _named(made: object, which: str) -> dict[str, Array]:
    if isinstance(made, Mapping):
        return {str(name): np.asarray(array) for name, array in made.items()}
    if isinstance(made, np.ndarray):
        return {"": made}
    raise InputError(
        f"the preprocessing of {which} returns {type(made).__name__}, and should return an array",
        mend="return an ndarray, or {input name: ndarray}",
    )


def _difference(got: Mapping[str, Array], want: Mapping[str, Array]) -> PipelineComparison | None:
    if set(got) != set(want):
        names = ", ".join(map(repr, sorted(got))), ", ".join(map(repr, sorted(want)))
        return PipelineComparison(
            1, got=f"inputs {names[0]}", want=f"inputs {names[1]}", max_difference=np.inf
        )
    for name in sorted(got):
        a, b = got[name], want[name]
        if a.shape != b.shape:
            told = f"shape {a.shape}", f"shape {b.shape}"
            return _describe(name, a, b, (), *told, np.inf)
        if a.dtype != b.dtype:
            return _describe(name, a, b, (), str(a.dtype), str(b.dtype), _largest_gap(a, b))
        bad = _bits_differ(a, b)
        if bad.any():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
            return _describe(name, a, b, index, f"{a[index]!s}", f"{b[index]!s}", _largest_gap(a, b))
    return None


def _describe(
    name: str, a: Array, b: Array, index: tuple[int, ...], got: str, want: str, gap: float
) -> PipelineComparison:
    return PipelineComparison(1, 1, 0, name, index, got, want, gap, guess_difference(a, b))


def _bits_differ(a: Array, b: Array) -> Array:
    if not a.size:
        return np.zeros(a.shape, bool)
    sides = [np.ascontiguousarray(side).reshape(-1).view(np.uint8).reshape(side.size, -1) for side in (a, b)]
    bad: Array = (sides[0] != sides[1]).any(axis=1).reshape(a.shape)
    return bad


def _largest_gap(a: Array, b: Array) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
    gap[~np.isfinite(gap) & ((a == b) | (np.isnan(a) & np.isnan(b)))] = 0.0
    largest = float(np.max(np.where(np.isnan(gap), np.inf, gap), initial=0.0))
    return largest


def _moves(array: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Yield rearrangements of an array that have a shape, with what they do; the first is none."""
    layouts = [("", array)]
    if array.ndim == 3:
        layouts += [
            ("the layout differs: HWC and CHW", array.transpose(2, 0, 1)),
            ("the layout differs: CHW and HWC", array.transpose(1, 2, 0)),
        ]
    if array.ndim == 4:
        layouts += [
            ("the layout differs: NHWC and NCHW", array.transpose(0, 3, 1, 2)),
            ("the layout differs: NCHW and NHWC", array.transpose(0, 2, 3, 1)),
        ]
    if array.ndim >= 2:
        layouts.append(("height and width are swapped", array.swapaxes(-1, -2)))
    layouts.append(("the same values have another shape", array))
    made = [(words, moved) for words, moved in layouts if moved.shape == shape]
    if array.size == int(np.prod(shape)) and not made:
        made.append(("the same values have another shape", array.reshape(shape)))
    yield from made
    for words, moved in made:
        for axis in [axis for axis, length in enumerate(moved.shape) if length == 3]:
            turned = f"the channel order differs (RGB and BGR, axis {axis})"
            yield (f"{words}, and {turned}" if words else turned), np.flip(moved, axis)


def _close(got: Array, want: Array) -> bool:
    return bool(np.max(np.abs(got - want)) <= _REST * np.max(np.abs(want)))


def _fit_factor(got: Array, want: Array) -> str:
    power = float(np.sum(got * got))
    factor = float(np.sum(got * want)) / power if power else 0.0
    if not factor or not _close(got * factor, want):
        return ""
    known = next((f" (1/{n})" for n in (255, 256, 127.5, 16) if abs(factor * n - 1) < _REST), "")
    known = known or next((f" ({n})" for n in (255, 256, 127.5, 16) if abs(factor / n - 1) < _REST), "")
    return f"the values are scaled: inference = calibration * {factor:.6g}{known}"


def _fit_normalisation(got: Array, want: Array) -> str:
    slope, shift = _fit(got.reshape(-1), want.reshape(-1))
    if not slope or not _close(got * slope + shift, want):
        return ""
    return _normalised([-shift / slope], [1 / slope])


def _fit_channels(got: Array, want: Array) -> str:
    for axis in [axis for axis, length in enumerate(got.shape) if 2 <= length <= 4]:
        sides = [np.moveaxis(side, axis, 0).reshape(side.shape[axis], -1) for side in (got, want)]
        if sides[0].shape[1] < _LEAST_VALUES:
            continue
        fits = [_fit(a, b) for a, b in zip(*sides, strict=True)]
        if all(slope for slope, _ in fits) and all(
            _close(a * slope + shift, b) for (slope, shift), a, b in zip(fits, *sides, strict=True)
        ):
            return _normalised([-shift / slope for slope, shift in fits], [1 / slope for slope, _ in fits])
    return ""


def _fit(got: Array, want: Array) -> tuple[float, float]:
    """Return slope and shift of the least squares line; a slope of 0 where there is none."""
    spread = got - got.mean()
    power = float(np.sum(spread * spread))
    if not power:
        return 0.0, 0.0
    slope = float(np.sum(spread * (want - want.mean()))) / power
    return slope, float(want.mean() - slope * got.mean())


def _normalised(means: list[float], stds: list[float]) -> str:
    mean = ", ".join(f"{m:.4g}" for m in means)
    std = ", ".join(f"{s:.4g}" for s in stds)
    return f"the normalisation differs: inference = (calibration - mean) / std with mean {mean} and std {std}"
