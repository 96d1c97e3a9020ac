"""What a calibration table was made from, kept beside it: a stale table is caught by identity, not by its numbers."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pytest_trt.errors import CalibrationError
from pytest_trt.precision.digests import add_feed, digest_feeds

SCHEMA = 1


@dataclass(frozen=True)
class Identity:
    """Digests of all that decides the scales of a calibration, SHA-256 in hexadecimal.

    Attributes
    ----------
    model, preprocessing, data : str
        Of the bytes of the model, of the text or source of the preprocessing, and of the arrays that were fed.
    """

    model: str
    preprocessing: str
    data: str


class DigestedBatches:
    """Hands batches on and digests them as they pass, so that data which come only once are read only once."""

    def __init__(self, batches: Iterable[Mapping[str, np.ndarray]]) -> None:
        self._batches = batches
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        self._hash = hashlib.sha256()
        for batch in self._batches:
            add_feed(self._hash, batch)
            yield batch

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]  # a TypeError where nobody knows is meant

    @property
    def digest(self) -> str:
        """The digest of the batches that have passed since the last iteration began."""
        return self._hash.hexdigest()


def digest_preprocessing(preprocessing: str | Callable[..., Any] | None) -> str:
    """Return the digest of a preprocessing: of a text that names it, or of the source of a function.

    Values that a function takes from elsewhere, for instance a mean in a global, are not in its source: give a text
    that names them. None stands for no preprocessing.

    Raises
    ------
    CalibrationError
        The source of a callable cannot be read.
    """
    if preprocessing is None or isinstance(preprocessing, str):
        return hashlib.sha256((preprocessing or "").encode()).hexdigest()
    try:
        source = inspect.getsource(inspect.unwrap(preprocessing))
    except (OSError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"the source of {preprocessing!r} cannot be read: {error}",
            mend="give a text that names the preprocessing and its version",
        ) from error
    return hashlib.sha256(inspect.cleandoc(source).encode()).hexdigest()


def identify(
    model: bytes,
    preprocessing: str | Callable[..., Any] | None,
    data: str | Iterable[Mapping[str, np.ndarray]],
) -> Identity:
    """Return the identity of a calibration.

    Parameters
    ----------
    model : bytes
        The serialised model.
    preprocessing : str, callable or None
        As for `digest_preprocessing`.
    data : str or iterable of mapping of str to ndarray
        The digest of the batches, from `DigestedBatches`, or the batches themselves.
    """
    told = data if isinstance(data, str) else digest_feeds(data)
    return Identity(hashlib.sha256(model).hexdigest(), digest_preprocessing(preprocessing), told)


def identity_path(table: str | os.PathLike[str]) -> Path:
    """Return where the identity of a table lies: `NAME.identity.json` beside it."""
    path = Path(table)
    return path.with_name(path.name + ".identity.json")


def write_identity(table: str | os.PathLike[str], identity: Identity) -> Path:
    """Write the identity of a table, which must be there already, beside it, and return where.

    Raises
    ------
    CalibrationError
        The table is not there.
    """
    path = identity_path(table)
    facts = {"schema": SCHEMA, "table": _digest_file(table), **asdict(identity)}
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(beside, path)
    return path


def check_identity(table: str | os.PathLike[str], now: Identity) -> None:
    """Refuse a table that was made from something else than what is there now.

    Raises
    ------
    CalibrationError
        Model, preprocessing or data are others than when the table was made (each is named), the table was changed
        since, or its identity is missing or cannot be read.
    """
    path = identity_path(table)
    kept = _read(path)
    if kept.get("table") != _digest_file(table):
        raise CalibrationError(
            f"{table} is not the table that {path.name} was written for",
            why="its bytes have another digest",
            mend=f"calibrate again: delete {table} and {path.name}",
        )
    names = [entry.name for entry in fields(Identity)]
    changed = [name for name in names if kept.get(name) != getattr(now, name)]
    if changed:
        raise CalibrationError(
            f"{table} is stale: {' and '.join(changed)} changed since it was calibrated",
            why=[
                f"{name}: {str(kept.get(name))[:12]}... then, {getattr(now, name)[:12]}... now"
                for name in changed
            ],
            mend=f"calibrate again: delete {table} and {path.name}",
        )


def _digest_file(table: str | os.PathLike[str]) -> str:
    try:
        return hashlib.sha256(Path(table).read_bytes()).hexdigest()
    except OSError as error:
        raise CalibrationError(f"the calibration table {table} cannot be read: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    mend = "calibrate again, and keep the two files together"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CalibrationError(
            f"nothing says what the table was made from: {path} cannot be read", why=str(error), mend=mend
        ) from error
    except (ValueError, RecursionError) as error:
        raise CalibrationError(f"{path} is no JSON", why=str(error)[:200], mend=mend) from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise CalibrationError(
            f"{path} is no identity of a calibration table", why=f"its schema is not {SCHEMA}", mend=mend
        )
    return facts
