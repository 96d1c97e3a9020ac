"""Time of checking goldens, beside that of reading their arrays with numpy and comparing bytes.

    python benchmarks/golden_cost.py [--count 1000] [--rounds 7] [--limit 1.5] [--by-size]

Both sides run in turns over the same files in a warm cache, and the round of each with the least processor time is taken. A
check is what a session does: `Book.check` loads the golden (manifest, seal, SHA-256 of the arrays, their headers), compares
all bits with today's arrays and classes it. The other side is
`numpy.load(..., allow_pickle=False)` of the same `.npz` and `tobytes()` of each array against today's. Exit status 1: the
ratio is over the limit.

The sizes are those of cases that are small enough to commit, and larger: 70 KB of outputs each on average. `--by-size` measures
one size at a time, up to megabytes: from some 300 KB on, SHA-256 is most of a check, and its speed on the machine at hand
decides the ratio; it can be over the limit there.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.golden.book import Book
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import IDENTICAL, OUTPUTS, Golden
from pytest_trt.golden.store import Store, open_store

# Shapes of the outputs of one case, from a row of a classifier to feature maps.
SIZES = ((10,), (1, 8, 14, 14), (4, 16, 28, 28), (2, 64, 56, 56))

SHARES = (0.3, 0.55, 0.15, 0.0)


def make_golden(number: int, rng: np.random.Generator, shares: Sequence[float] = SHARES) -> Golden:
    """Return a golden with one to three outputs and the facts that a check records."""
    shapes = [SIZES[int(rng.choice(len(SIZES), p=shares))] for _ in range(int(rng.integers(1, 4)))]
    arrays = {
        f"out{place}": rng.standard_normal(shape).astype(np.float32) for place, shape in enumerate(shapes)
    }
    numbers = {"rms": 0.31, "bias": -0.002, "largest": 0.87, "elements": 1000}
    facts = {"inputs": "0" * 64, "model": "1" * 64, "numbers": dict.fromkeys(arrays, numbers), "seed": 0,
             "layers": [{"name": f"conv{layer}", "kind": "conv", "types": ["fp16"]} for layer in range(4)]}  # fmt: skip
    provenance = {
        "product": "tensorrt",
        "version": "10.13.3.9",
        "gpu_class": "t4",
        "gpu": "Tesla T4",
        "sm": 75,
    }
    return Golden(
        Key(f"case-{number}", "fp16", "t4", "tensorrt-10.13.3.9"), OUTPUTS, arrays, facts, provenance
    )


def check_all(store: Store, goldens: list[Golden]) -> None:
    """Check each golden as a session does."""
    book = Book(store, "check")
    for golden in goldens:
        assert book.check(golden).outcome == IDENTICAL


def read_all(files: list[tuple[Path, Mapping[str, NDArray[Any]]]]) -> None:
    """Read each file with numpy and compare its bytes with today's."""
    for path, arrays in files:
        with np.load(path, allow_pickle=False) as held:
            for name, values in arrays.items():
                assert held[name].tobytes() == values.tobytes()


def measure_seconds(*sides: Callable[[], None], rounds: int) -> list[float]:
    """Return the processor time of the fastest round of each side; they run in turns."""
    best = [float("inf")] * len(sides)
    for _ in range(rounds):
        for place, side in enumerate(sides):
            gc.collect()
            start = time.process_time()
            side()
            best[place] = min(best[place], time.process_time() - start)
    return best


def compare_cost(count: int, rounds: int, shares: Sequence[float] = SHARES) -> tuple[float, float]:
    """Return seconds of checking that many goldens, and of reading and comparing their bytes."""
    rng = np.random.default_rng(0)
    goldens = [make_golden(number, rng, shares) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        files = []
        for golden in goldens:
            store.save(golden)
            (path,) = Path(folder, golden.key.path).parent.glob("*.npz")
            files.append((path, golden.arrays))
        check, read = measure_seconds(
            lambda: check_all(store, goldens), lambda: read_all(files), rounds=rounds
        )
    return check, read


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=float, default=1.5)
    parser.add_argument("--by-size", action="store_true")
    given = parser.parse_args(arguments)
    for place, size in enumerate(SIZES if given.by_size else ()):
        check, read = compare_cost(
            min(given.count, 200), given.rounds, [float(n == place) for n in range(len(SIZES))]
        )
        print(f"outputs {size}: ratio {check / read:.2f}")
    check, read = compare_cost(given.count, given.rounds)
    print(f"{given.count} goldens: checked in {check:.3f} s; read with numpy and compared in {read:.3f} s")
    print(f"ratio {check / read:.2f}, limit {given.limit:g}")
    return int(check > given.limit * read)


if __name__ == "__main__":
    sys.exit(main())
