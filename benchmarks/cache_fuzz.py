"""Damaged calibration caches: reading one gives a table, or the error of this package, and nothing else.

    python benchmarks/cache_fuzz.py [--count 10000] [--seed 0]

A good table is damaged in one to four ways at once: flipped bits, cuts, insertions and deletions, scales that are NaN, infinite,
negative, zero or too long, repeated and swapped lines, other line ends, other encodings, other headers. What can still be
read must come back from its own bytes as the same table. Exit status 1: something else was raised, or a table was not kept.
"""

from __future__ import annotations

import argparse
import collections
import sys
from collections.abc import Callable

import numpy as np

from pytest_trt.errors import CalibrationError
from pytest_trt.precision.tables import ALGORITHMS, CalibrationTable

Damage = Callable[[bytes, np.random.Generator], bytes]

_ODD_BITS = ("7fc00000", "7f800000", "ff800000", "bf800000", "0", "00000000", "80000000", "f" * 40, "-1", "0x3c", "",
             "3c01 0a14", "zz", "00000001", "7f7fffff", "١٢٣", "3.0")  # fmt: skip
_ODD_HEADERS = ("", "TRT", "TRT-8601", "TRT--EntropyCalibration2", "TRT-8601-", "TRT-99999999999-MinMaxCalibration",
                "TRT-8601-EntropyCalibration3", "trtexec-8601-MinMaxCalibration", "TRT-86a1-MinMaxCalibration",
                "TRT-101303-MinMaxCalibration ", "TRT-٨٦٠١-MinMaxCalibration")  # fmt: skip
_PIECES = (b"\x00", b"\n", b"\r\n", b": ", b":", b"\xff\xfe", b"\xe2\x80\xa8", b" ", b"\x85", b"9" * 300)


def make_table(rng: np.random.Generator) -> bytes:
    """Return a good table with a few tensors, some of them with odd names."""
    names = [
        "input",
        "conv: 1",
        "(Unnamed Layer* 3) [Convolution]_output",
        "блок/выход",
        "a\u2028b",
        "x:y: z",
    ]
    names += [f"t{number}" for number in range(int(rng.integers(0, 6)))]
    scales = {name: np.float32(np.exp2(rng.uniform(-12, 4))) for name in names}
    version = str(rng.choice(["8.6.1", "10.0.1", "10.13.3", "10.16.1"]))
    algorithm = str(rng.choice(list(ALGORITHMS.values())))
    return CalibrationTable(str(rng.choice(["TRT", "emulator"])), version, algorithm, scales).to_bytes()


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with up to eight bits flipped."""
    held = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if held else 0):
        held[int(rng.integers(len(held)))] ^= 1 << int(rng.integers(8))
    return bytes(held)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the beginning of the bytes, perhaps nothing."""
    return data[: int(rng.integers(0, len(data) + 1))]


def remove(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes without a part."""
    start, stop = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    return data[:start] + data[stop:]


def insert(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with something put in."""
    place = int(rng.integers(0, len(data) + 1))
    piece = (
        _PIECES[int(rng.integers(len(_PIECES)))] if rng.random() < 0.7 else rng.bytes(int(rng.integers(1, 9)))
    )
    return data[:place] + piece + data[place:]


def odd_scale(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the table with a scale that none can be."""
    lines = data.split(b"\n")
    place = int(rng.integers(len(lines)))
    name, colon, _ = lines[place].rpartition(b": ")
    lines[place] = name + colon + str(rng.choice(_ODD_BITS)).encode()
    return b"\n".join(lines)


def odd_header(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the table with another first line."""
    return str(rng.choice(_ODD_HEADERS)).encode() + b"\n" + data.partition(b"\n")[2]


def repeat_line(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the table with a line twice."""
    lines = data.split(b"\n")
    lines.insert(int(rng.integers(len(lines) + 1)), lines[int(rng.integers(len(lines)))])
    return b"\n".join(lines)


def swap_lines(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the table with its lines in another order."""
    lines = data.split(b"\n")
    return b"\n".join(lines[place] for place in rng.permutation(len(lines)))


def other_ends(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the table with the line ends of another system."""
    return data.replace(b"\n", b"\r\n" if rng.random() < 0.5 else b"\r")


def recode(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the table in another encoding."""
    coding = str(rng.choice(["utf-16", "utf-8-sig", "cp1251", "utf-7"]))
    return data.decode("utf-8", "replace").encode(coding, "replace")


DAMAGE: tuple[Damage, ...] = (
    flip, cut, remove, insert, odd_scale, odd_header, repeat_line, swap_lines, other_ends, recode,
)  # fmt: skip


def damage(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return a damaged table and what was done to it."""
    data, done = make_table(rng), []
    for _ in range(int(rng.integers(1, 5))):
        change = DAMAGE[int(rng.integers(len(DAMAGE)))]
        data = change(data, rng)
        done.append(change.__name__)
    return data, "+".join(done)


def judge(data: bytes) -> str:
    """Return `refused` or `read`; whatever else the reader raises comes out.

    Raises
    ------
    AssertionError
        What was read does not come back from its own bytes, or the error says nothing.
    """
    try:
        table = CalibrationTable.parse(data)
    except CalibrationError as error:
        assert error.what and error.mend, data
        return "refused"
    again = CalibrationTable.parse(table.to_bytes())
    assert again == table and all(0 < scale < np.inf for scale in table.scales.values()), data
    return "read"


def main() -> int:
    """Return the exit status: 1 where something went wrong."""
    parser = argparse.ArgumentParser(description="Read damaged calibration caches.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    counts: collections.Counter[str] = collections.Counter()
    for _ in range(options.count):
        data, done = damage(rng)
        try:
            counts[judge(data)] += 1
        except Exception as error:
            counts["wrong"] += 1
            print(f"{done}: {type(error).__name__}: {error}: {data!r}")
    print(f"{options.count} caches: {', '.join(f'{count} {word}' for word, count in counts.most_common())}")
    return 1 if counts["wrong"] or not counts["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
