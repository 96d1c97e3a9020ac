"""How often honest curves of time per frame over the batch are called broken, and how often wrong ones are noticed.

    python benchmarks/batch_curves.py [--curves 1000] [--seed 1]

A curve is made of a drawn network on a drawn device: layers that start in some microseconds and work in waves of tiles, a memory
that is slower from the batch on at which tensors leave the cache, clocks that fall as the device fills and drift from point to
point, noise in each round, and now and then a point that throttled or has two modes. Half of the curves double the batch, the
others take every batch up to a limit, with the sawtooth of waves that are not full. Then each is made wrong in one way, with the
same numbers.

Exit status 1: an honest curve was called broken, or fewer than 99 in 100 of the wrong ones were.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_trt.bench.batch import (
    BROKEN,
    FALLS,
    FLAT,
    HOLDS,
    OWN,
    POSSIBLE,
    UNRELIABLE,
    Curve,
    Point,
    doublings,
)
from pytest_trt.bench.measure import ROUND_SECONDS, ROUNDS, Measurement, count_runs
from pytest_trt.bench.roofline import OVER_PEAK, Roofline
from pytest_trt.bench.timer import CUDA_EVENTS
from pytest_trt.bench.warm import WarmUp

LEAST_FOUND = 0.99
UNRELIABLE_POINTS = 0.05  # share of points that throttled or have two modes


@dataclass(frozen=True)
class Scene:
    """A drawn network on a drawn device.

    Attributes
    ----------
    batches : tuple of int
    seconds : tuple of float
        Of a run of each batch, without noise.
    floors : tuple of float
        What the work of each batch takes at the peak rate.
    variation : float
        Of the rounds of a point.
    drift : float
        Of the points.
    """

    batches: tuple[int, ...]
    seconds: tuple[float, ...]
    floors: tuple[float, ...]
    variation: float
    drift: float


def draw_scene(rng: np.random.Generator, *, doubled: bool) -> Scene:
    """Return a network on a device: layers in waves, a cache that is left, and clocks that fall as the device fills."""
    layers = int(rng.integers(1, 40))
    width = int(rng.integers(20, 160))  # multiprocessors
    tiles = rng.integers(1, 4 * width, layers) if rng.random() < 0.3 else rng.integers(1, width, layers)
    wave = rng.uniform(2e-6, 30e-6, layers)
    start = rng.uniform(2e-6, 5e-6)
    leaves_cache, slower = 2 ** rng.uniform(3, 10), rng.uniform(1.0, 1.12)
    clocks = rng.uniform(1.0, 1.06)
    most = int(2 ** rng.integers(5, 11)) if doubled else int(rng.integers(8, 40))
    batches = doublings(most) if doubled else tuple(range(1, most + 1))
    seconds, floors = [], []
    for batch in batches:
        waves = np.ceil(batch * tiles / width)
        busy = float(np.mean(np.minimum(1.0, batch * tiles / width)))
        times = np.maximum(start, wave * waves * (slower if batch > leaves_cache else 1.0))
        seconds.append(float(times.sum()) * (1 + (clocks - 1) * busy))
        floors.append(float((wave * batch * tiles / width).sum()) / OVER_PEAK)
    return Scene(
        batches, tuple(seconds), tuple(floors), float(rng.uniform(0.002, 0.05)), float(rng.uniform(0, 0.02))
    )


def measured(scene: Scene, rng: np.random.Generator) -> Curve:
    """Return a scene as it would be measured: drift from point to point, noise from round to round, points to be left out."""
    points = []
    for batch, seconds, floor in zip(scene.batches, scene.seconds, scene.floors, strict=True):
        drifted = seconds * (1 + scene.drift * rng.uniform(-1, 1))
        rounds = drifted * np.exp(scene.variation * rng.standard_normal(ROUNDS))
        if rng.random() < UNRELIABLE_POINTS:
            rounds = rounds * np.where(np.arange(ROUNDS) % 2, 1.0, rng.uniform(1.3, 2.0))
        points.append(Point(batch, take(rounds), Roofline(floor, 0.0, floor)))
    return Curve(tuple(points))


def take(rounds: Sequence[float] | np.ndarray) -> Measurement:
    """Return rounds of CUDA events as a measurement that has warmed up."""
    seconds = tuple(float(one) for one in rounds)
    return Measurement(
        seconds, count_runs(float(np.median(seconds)), ROUND_SECONDS), CUDA_EVENTS, WarmUp(15, seconds[:3])
    )


def slower_with_batch(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a device that takes 15 % more for a frame with each doubling of the batch."""
    return replace(
        scene, seconds=tuple(scene.seconds[0] * 1.15 ** np.log2(batch) * batch for batch in scene.batches)
    )


def jump_at_one_batch(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a device that takes twice as long at one batch, which is the last one or has its half measured."""
    place = int(rng.choice([at for at, batch in enumerate(scene.batches) if batch % 2 == 0]))
    half = scene.batches.index(scene.batches[place] // 2)
    worst = 2 * max(scene.seconds[place], 2 * scene.seconds[half])
    seconds = tuple(worst if at == place else one for at, one in enumerate(scene.seconds))
    return replace(scene, seconds=seconds)


def ten_times_too_fast(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a clock that tells a tenth of times that have the peak rate within a factor of three at the largest batch."""
    work = scene.seconds[-1] / scene.floors[-1]
    floors = tuple(one * work / rng.uniform(1.5, 3) for one in scene.floors)
    return replace(scene, seconds=tuple(one / 10 for one in scene.seconds), floors=floors)


def constant_time(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a device that claims the time of its first batch for all."""
    work = scene.seconds[-1] / scene.floors[-1]
    floors = tuple(one * work / 1.5 for one in scene.floors)
    return replace(scene, seconds=(scene.seconds[0],) * len(scene.batches), floors=floors)


def cached_series(curve: Curve, rng: np.random.Generator) -> Curve:
    """Return a curve in which one batch was given the rounds of another."""
    kept = [at for at, point in enumerate(curve.points) if point.reliable]
    source, place = (int(at) for at in rng.choice(kept, 2, replace=False))
    points = list(curve.points)
    points[place] = replace(points[place], measurement=points[source].measurement)
    return replace(curve, points=tuple(points))


SCENES: dict[str, tuple[Callable[[Scene, np.random.Generator], Scene], frozenset[str]]] = {
    "slower with the batch, 15 % a doubling": (slower_with_batch, frozenset({FLAT})),
    "twice as slow at one batch": (jump_at_one_batch, frozenset({FALLS, FLAT})),
    "ten times too fast": (ten_times_too_fast, frozenset({POSSIBLE})),
    "one time for all batches": (constant_time, frozenset({POSSIBLE})),
}


def is_judgeable(curve: Curve) -> bool:
    """Return whether each point is as it was drawn: no point that a fault sits on is left out."""
    return all(point.reliable for point in curve.points)


def count_honest(curves: int, seed: int) -> Counter[str]:
    """Return how many honest curves have which verdict."""
    tally: Counter[str] = Counter()
    for number in range(curves):
        rng = np.random.default_rng([seed, number])
        tally[measured(draw_scene(rng, doubled=number % 2 == 0), rng).judge().verdict] += 1
    return tally


def count_wrong(name: str, curves: int, seed: int) -> tuple[int, int]:
    """Return how many of the wrong curves of one kind are noticed by a check that is there for it, and how many there are.

    A point on which the fault sits may be left out as unreliable: curves with such points are not counted.
    """
    found = made = 0
    for number in range(curves):
        rng = np.random.default_rng([seed, number])
        scene = draw_scene(rng, doubled=number % 2 == 0)
        if name == OWN:
            curve, checks = cached_series(measured(scene, rng), rng), frozenset({OWN})
        else:
            change, checks = SCENES[name]
            if change is constant_time and scene.seconds[-1] < 3 * scene.seconds[0]:
                continue  # an honest device that is not full takes about that time too
            curve = measured(change(scene, rng), rng)
        if not is_judgeable(curve):
            continue
        made += 1
        broken = {check for check, note in curve.judge().rows if note is not None}
        found += bool(broken & checks)
    return found, made


def main() -> int:
    """Print the rates; see the head of this file for the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--curves", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    honest = count_honest(given.curves, given.seed)
    print(
        f"honest curves: {given.curves}, called broken: {honest[BROKEN]}, hold: {honest[HOLDS]},"
        f" unreliable: {honest[UNRELIABLE]}"
    )
    good = not honest[BROKEN]
    for name in (*SCENES, OWN):
        found, made = count_wrong(name, given.curves, given.seed)
        said = "rounds of another batch" if name == OWN else name
        print(f"{said}: {found} of {made} noticed ({100 * found / max(1, made):.1f} %)")
        good &= made > 0 and found >= LEAST_FOUND * made
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
