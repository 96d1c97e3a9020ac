"""What a store of goldens has in the user's cache: outputs that failed a check, and goldens that nobody asked for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from pytest_trt.errors import GoldenError
from pytest_trt.golden.folder import replace_file
from pytest_trt.golden.key import Key
from pytest_trt.golden.store import Store, open_store
from pytest_trt.runtime.plans import default_folder

_UNUSED = "unused.json"


def find_folder(place: str, cache: str | os.PathLike[str] | None, what: str) -> Path:
    """Return the folder in the cache that belongs to a store; it need not exist.

    Parameters
    ----------
    place : str
        Of the store: a path or a URL.
    cache : path, optional
        Default: the user's cache folder.
    what : str
        `rejected` or `unused`.
    """
    base = Path(cache) if cache is not None else default_folder()
    whole = place if "://" in place or "::" in place else os.path.abspath(place)
    return base / f"golden-{what}" / hashlib.sha256(whole.encode()).hexdigest()[:16]


def open_rejected(place: str, cache: str | os.PathLike[str] | None = None) -> Store:
    """Return the store of what failed the checks against the goldens of another store."""
    return open_store(find_folder(place, cache, "rejected"))


def note_unused(
    place: str, unused: Iterable[Key], used: Iterable[Key], cache: str | os.PathLike[str] | None = None
) -> None:
    """Keep which goldens nobody asked for, beside those of earlier sessions; those that are used are taken out.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    known = set(read_unused(place, cache))
    now = (known | set(unused)) - set(used)
    path = find_folder(place, cache, "unused") / _UNUSED
    if now == known and (now or not path.exists()):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = [asdict(key) for key in sorted(now)]
    replace_file(str(path), json.dumps(plain, indent=1).encode())


def read_unused(place: str, cache: str | os.PathLike[str] | None = None) -> tuple[Key, ...]:
    """Return the goldens that nobody asked for when the files of their tests last ran whole, sorted.

    Raises
    ------
    GoldenError
        The list in the cache is damaged.
    """
    path = find_folder(place, cache, "unused") / _UNUSED
    try:
        return tuple(sorted(Key(**plain) for plain in json.loads(path.read_bytes())))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        raise GoldenError(f"{str(path)!r} cannot be read", why=str(error), mend="remove the file") from error
