"""Killed and crowded recording: every golden stays whole, and none is lost.

    python benchmarks/golden_kill.py [--kills 200] [--workers 8] [--seed 0]

First a process records over and over the same few goldens, each time with new arrays, and tells each one that it has saved. It
is killed (signal 9) at a random moment, again and again. After each kill every golden of the store has to be readable and be
the one that was told last, or the one that was being saved. At the end `clean` has to leave no problem. Then eight processes
record into one store at once, goldens of their own and common ones; each one's own has to be there, and the common ones whole.
Exit status 1: something was lost, or cannot be read.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time

import numpy as np

from pytest_trt.errors import GoldenError
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import OUTPUTS, Golden
from pytest_trt.golden.store import Store, open_store

CASES = 3
_FORK = multiprocessing.get_context("fork")


def make_golden(case: str, number: int) -> Golden:
    """Return a golden whose arrays, facts and provenance all say one number."""
    arrays = {"out": np.full((4, 500 + number % 7), number, np.int64)}
    facts = {"number": number, "padding": "x" * (200 + number % 11)}
    return Golden(Key(case, "fp32", "t4", "tensorrt-10.13.3.9"), OUTPUTS, arrays, facts, {"number": number})


def read_number(store: Store, case: str) -> int:
    """Return the number that a golden says; it has to say one only.

    Raises
    ------
    GoldenError
        It is missing, damaged, or half of one and half of another.
    """
    golden = store.load(make_golden(case, 0).key)
    number = int(golden.facts["number"])
    if pack_of(golden) != pack_of(make_golden(case, number)):
        raise GoldenError(f"golden {case!r} is a mixture")
    return number


def pack_of(golden: Golden) -> tuple[object, ...]:
    """Return what of a golden can be compared."""
    return dict(golden.facts), dict(golden.provenance), golden.arrays["out"].tolist()


def record_forever(place: str, start: int, tell: int) -> None:
    """Record the cases in turn with growing numbers, and write each number to a pipe when it is saved."""
    store = open_store(place)
    number = start
    while True:
        number += 1
        store.save(make_golden(f"case-{number % CASES}", number))
        os.write(tell, b"%d\n" % number)


def record_crowd(place: str, worker: int, count: int) -> None:
    """Record goldens of a worker's own, and common ones."""
    store = open_store(place)
    for number in range(count):
        store.save(make_golden(f"own-{worker}-{number}", worker))
        store.save(make_golden(f"common-{number % 5}", worker))


def kill_often(place: str, kills: int, seed: int, seconds: float = 0.06) -> list[str]:
    """Return what was lost or damaged by killing a recording process that often."""
    wrong: list[str] = []
    rng = random.Random(seed)
    store = open_store(place)
    last = 0
    told = {f"case-{number}": number for number in range(CASES)}
    for case, number in told.items():
        store.save(make_golden(case, number))
    for kill in range(kills):
        ear, mouth = os.pipe()
        child = _FORK.Process(target=record_forever, args=(place, last, mouth), daemon=True)
        child.start()
        os.close(mouth)
        time.sleep(rng.uniform(0, seconds))
        child.kill()
        child.join()
        with open(ear, "rb") as told_now:
            for line in told_now:
                last = int(line)
                told[f"case-{last % CASES}"] = last
        for case, number in told.items():
            # What was being saved, or was saved and not yet told, may be there already.
            possible = {number} | ({last + 1} if case == f"case-{(last + 1) % CASES}" else set())
            try:
                got = read_number(store, case)
            except GoldenError as error:
                wrong.append(f"kill {kill}: {error}")
                continue
            if got not in possible:
                wrong.append(f"kill {kill}: {case} says {got}, and not one of {sorted(possible)}")
            told[case] = got
        last += 1
    odd = [words for words in store.problems().values() if "interrupted" not in words]
    wrong += [f"after the kills: {words}" for words in odd]
    left = store.clean()
    wrong += [f"after cleaning: {name}: {words}" for name, words in store.problems().items()]
    print(f"{kills} kills, {last} records: {len(wrong)} wrong; {len(left)} leftovers were cleaned")
    return wrong


def record_at_once(place: str, workers: int, count: int) -> list[str]:
    """Return what was lost when several processes recorded into one store."""
    children = [_FORK.Process(target=record_crowd, args=(place, worker, count)) for worker in range(workers)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    wrong = [f"a worker ended with {child.exitcode}" for child in children if child.exitcode]
    store = open_store(place)
    want = {f"own-{worker}-{number}": {worker} for worker in range(workers) for number in range(count)}
    want |= {f"common-{number}": set(range(workers)) for number in range(min(count, 5))}
    for case, possible in want.items():
        try:
            got = read_number(store, case)
        except GoldenError as error:
            wrong.append(str(error))
        else:
            wrong += [] if got in possible else [f"{case} says {got}"]
    if len(store.keys()) != len(want):
        wrong.append(f"{len(store.keys())} goldens, and {len(want)} were recorded")
    wrong += [f"{name}: {words}" for name, words in store.problems().items()]
    print(f"{workers} processes recorded {len(want)} goldens: {len(wrong)} wrong")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--count", type=int, default=20, help="goldens of each worker")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        wrong = kill_often(one, given.kills, given.seed)
        wrong += record_at_once(other, given.workers, given.count)
        wrong += record_at_once(f"{other}/goldens.zip", min(given.workers, 4), min(given.count, 5))
    print(*wrong[:20], sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
