"""Goldens and stores that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pytest_trt.golden.files import seal
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BUILD, OUTPUTS, Golden

KEY = Key("conv one", "fp16", "t4", "tensorrt-10.13.3.9")
KNOWN = {"product": "tensorrt", "gpu_class": "t4"}


def make_golden(number: int = 1, key: Key = KEY) -> Golden:
    """A golden of two outputs, all of whose content says a number."""
    arrays = {"logits": np.full((2, 3), number, np.float32), "a/b": np.full(4, number, np.int16)}
    return Golden(key, OUTPUTS, arrays, {"number": number}, KNOWN)


def make_build(key: Key = KEY) -> Golden:
    """A golden of a build, which has no arrays."""
    return Golden(key, BUILD, {}, {"outcome": "refused", "words": ["Error 9"]}, KNOWN)


def is_same(got: Golden, want: Golden) -> bool:
    """Whether two goldens say the same."""
    one = (got.key, got.kind, dict(got.facts), dict(got.provenance))
    return one == (want.key, want.kind, dict(want.facts), dict(want.provenance)) and got.same_arrays(
        want.arrays
    )


def reseal(held: dict[str, Any]) -> dict[str, Any]:
    """A manifest with a seal that fits, as if someone meant harm."""
    rest = {name: value for name, value in held.items() if name != "sha256"}
    return rest | {"sha256": seal(rest)}


def list_files(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
