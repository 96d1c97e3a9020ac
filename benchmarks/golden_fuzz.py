"""Damaged goldens: reading one gives the golden that was kept, or the error of this package, and the store stays as it is.

    TMPDIR=/dev/shm python benchmarks/golden_fuzz.py [--count 10000] [--seed 0]

Each round damages one file of a store with three goldens and asks for that golden, for the keys and, in every tenth round, for
the list of problems. Half of the damages are of bytes: flipped bits, cuts, insertions, pieces of another file. The other
half know the format: fields that are swapped, removed or given odd values; some of those get a fresh seal, as if someone meant
harm; and arrays of other zips, with compression, with pickles, with other headers, under a manifest that names their digest.
Without a fresh seal what comes back has to equal what was kept; with one it has to be what the edited manifest says. Exit
status 1: another error, another golden, or a file that reading has changed.
"""

from __future__ import annotations

import argparse
import collections
import copy
import hashlib
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pytest_trt.errors import GoldenError
from pytest_trt.golden.files import pack, seal
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BUILD, OUTPUTS, Golden
from pytest_trt.golden.store import open_store

_ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 1 << 70, 1e308, "", "x", "../../etc/passwd", "/", "\0", "\ud800", [], [[]], {}, {"a": 1}, [-1],
    [1 << 59, 1 << 59], [0, 1 << 59, 1 << 59], [True], [1.0], [1] * 40, "float32", "object", "O", "bfloat16", "int4", "~0",
    {"float": "nan"}, {"float": 3}, "outputs", "build", "0" * 64, "G" * 64, 1 << 29, (1 << 29) + 1,
)  # fmt: skip
_ODD_TEXTS = (b"NaN", b"-Infinity", b"9" * 5000, b"[" * 100_000, b"<<<<<<< HEAD\n", b"\xff\xfe", b"\xef\xbb\xbf", b"1e999",
              b'{"schema": 2}', b'{"schema": 1}', b"{}", b"[]", b"null", b"", b"\r\n", b" ", b"//", b"'")  # fmt: skip


def make_goldens(rng: np.random.Generator) -> list[Golden]:
    """Return two goldens of outputs and one of a build."""
    arrays: dict[str, Any] = {
        "logits": rng.standard_normal((2, 5)).astype(np.float32),
        "a/b: ü": np.float16(rng.normal())[...],
        "none": np.empty((0, 3), np.int8),
        "many": rng.integers(0, 255, (3, 40), np.uint8),
    }
    facts = {
        "numbers": {"logits": {"rms": 0.5, "largest": float("inf")}},
        "layers": [{"name": "c", "types": ["fp16"]}],
    }
    known = {"product": "tensorrt", "gpu_class": "t4", "sm": 75, "recorded": "2026-01-01T00:00:00Z"}
    key = Key("conv one", "fp16", "t4", "tensorrt-10.13.3.9")
    words = {"outcome": "refused", "words": ["Error 9"], "plan_bytes": 12345}
    return [
        Golden(key, OUTPUTS, arrays, facts, known),
        Golden(key.of("tensorrt-11.4"), OUTPUTS, {"logits": arrays["logits"] + 1}, facts, known),
        Golden(Key("build", "int8", "t4", "tensorrt_rtx-1.6"), BUILD, {}, words, known),
    ]


def damage_bytes(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one to three damages that know nothing of the format."""
    for _ in range(int(rng.integers(1, 4))):
        place, end = sorted(int(number) for number in rng.integers(0, len(data) + 1, 2))
        how = int(rng.integers(7))
        if how == 0 and data:
            held = bytearray(data)
            held[int(rng.integers(len(held)))] ^= 1 << int(rng.integers(8))
            data = bytes(held)
        elif how == 1:
            data = data[:place]
        elif how == 2:
            data = data[:place] + data[end:]
        elif how == 3:
            data = data[:place] + rng.bytes(int(rng.integers(1, 9))) + data[place:]
        elif how == 4:
            data = data[:place] + _ODD_TEXTS[int(rng.integers(len(_ODD_TEXTS)))] + data[end:]
        elif how == 5:
            data = data[:place] + other[place:end] + data[end:]
        else:
            data = data.replace(b"\n", b"\r\n") if rng.random() < 0.5 else data + data[place:end]
    return data


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside of JSON data."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        found += list_places(item, (*path, name))
    return found


def look_up(value: Any, path: tuple[Any, ...]) -> Any:
    """Return the value at a path."""
    for name in path:
        value = value[name]
    return value


def edit_fields(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a manifest with one to three fields that are swapped, removed, or have an odd value; perhaps sealed anew."""
    held = json.loads(data)
    for _ in range(int(rng.integers(1, 4))):
        places = list_places(held)
        if not places:
            break
        one = places[int(rng.integers(len(places)))]
        room = look_up(held, one[:-1])
        how = int(rng.integers(4))
        if how == 0:
            del room[one[-1]]
        elif how == 1:
            other = places[int(rng.integers(len(places)))]
            if one[: len(other)] != other and other[: len(one)] != one:
                there = look_up(held, other[:-1])
                room[one[-1]], there[other[-1]] = there[other[-1]], room[one[-1]]
        elif how == 2 and isinstance(room, dict):
            room[str(rng.choice(["schema", "float", "x", "type", "sha256"]))] = room.pop(one[-1])
        else:
            room[one[-1]] = copy.deepcopy(_ODD_VALUES[int(rng.integers(len(_ODD_VALUES)))])
    return dump(held, fresh=rng.random() < 0.6)


def dump(held: dict[str, Any], fresh: bool) -> bytes:
    """Return JSON data as a manifest; with a seal that fits, if asked for."""
    if fresh:
        held = {name: value for name, value in held.items() if name != "sha256"}
        held["sha256"] = seal(held)
    return json.dumps(held, sort_keys=True, indent=1).encode()


def forge_arrays(manifest: bytes, arrays: bytes, rng: np.random.Generator) -> tuple[bytes, bytes]:
    """Return a manifest that names other arrays' digest, and those arrays."""
    how = int(rng.integers(7))
    if how < 2:
        forged = damage_bytes(arrays, arrays[::-1], rng)
    else:
        held = io.BytesIO()
        compression = zipfile.ZIP_DEFLATED if how == 2 else zipfile.ZIP_STORED
        with zipfile.ZipFile(io.BytesIO(arrays)) as old, zipfile.ZipFile(held, "w", compression) as new:
            for info in old.infolist():
                body = old.read(info)
                if how == 3:
                    body = damage_bytes(body, arrays, rng)
                elif how == 4:
                    place = io.BytesIO()
                    np.save(place, np.array([{"a": 1}], dtype=object), allow_pickle=True)
                    body = place.getvalue()
                elif how == 5:
                    place = io.BytesIO()
                    np.lib.format.write_array(place, np.asfortranarray(np.ones((5, 2))), version=(3, 0))
                    body = place.getvalue()
                new.writestr(info.filename if how != 6 else "../" + info.filename, body)
        forged = held.getvalue()
    facts = json.loads(manifest)
    facts["arrays"] |= {"bytes": len(forged), "sha256": hashlib.sha256(forged).hexdigest()}
    return dump(facts, fresh=True), forged


def is_equal(got: Golden, want: Golden) -> bool:
    """Tell whether two goldens are the same; facts are compared as they are written."""
    return pack(got) == pack(want)


def is_what_it_says(got: Golden, manifest: bytes) -> bool:
    """Tell whether a golden says what a sealed manifest says."""
    facts = json.loads(manifest)
    again = json.loads(pack(got)[0])
    return facts["sha256"] == seal(
        {name: value for name, value in facts.items() if name != "sha256"}
    ) and all(again[name] == facts[name] for name in ("facts", "key", "kind", "provenance"))


def fuzz(count: int, seed: int) -> tuple[collections.Counter[str], list[str]]:
    """Return how often what happened, and what went wrong."""
    rng = np.random.default_rng(seed)
    goldens = make_goldens(rng)
    counts: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        for golden in goldens:
            store.save(golden)
        clean = {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
        for number in range(count):
            golden = goldens[int(rng.integers(3))]
            mine = [path for path in clean if str(path).startswith(str(Path(folder, golden.key.path)))]
            manifest = next(path for path in mine if path.suffix == ".json")
            other = clean[list(clean)[int(rng.integers(len(clean)))]]
            changed: dict[Path, bytes] = {}
            if rng.random() < 0.5:
                target = mine[int(rng.integers(len(mine)))]
                changed[target] = damage_bytes(clean[target], other, rng)
            elif golden.arrays and rng.random() < 0.4:
                arrays = next(path for path in mine if path.suffix == ".npz")
                changed[manifest], forged = forge_arrays(clean[manifest], clean[arrays], rng)
                digest = hashlib.sha256(forged).hexdigest()[:16]
                changed[manifest.with_name(f"{manifest.stem}.{digest}.npz")] = forged
            else:
                changed[manifest] = edit_fields(clean[manifest], rng)
            for path, data in changed.items():
                path.write_bytes(data)
            try:
                got = store.load(golden.key)
            except GoldenError as error:
                counts[error.what.partition("': ")[2].split(":")[0][:60] or error.what[:60]] += 1
            except Exception as error:
                wrong.append(f"round {number}: {type(error).__name__}: {error}")
            else:
                if is_equal(got, golden):
                    counts["(equal)"] += 1
                elif manifest in changed and is_what_it_says(got, changed[manifest]):
                    counts["(what a freshly sealed manifest says)"] += 1
                else:
                    wrong.append(f"round {number}: another golden came back: {got}")
            try:
                assert len(store.keys()) in (2, 3)
                assert number % 10 or isinstance(store.problems(), dict)
            except Exception as error:
                wrong.append(f"round {number}: keys or problems: {type(error).__name__}: {error}")
            left = {path for path in Path(folder).rglob("*") if path.is_file()}
            if left != clean.keys() | changed.keys() or any(
                path.read_bytes() != changed.get(path, clean.get(path)) for path in left
            ):
                wrong.append(f"round {number}: reading changed the store")
            for path in changed:
                path.unlink() if path not in clean else path.write_bytes(clean[path])
    return counts, wrong


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    counts, wrong = fuzz(given.count, given.seed)
    for words, times in counts.most_common():
        print(f"{times:7d}  {words}")
    print(*wrong[:20], sep="\n")
    print(f"{given.count} damaged goldens, seed {given.seed}: {len(wrong)} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
