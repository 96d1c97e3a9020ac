"""Plan cache: private to the user, keyed by content, and deaf to files that it did not write."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pytest_trt.errors import SettingsError
from pytest_trt.records import LayerInfo, LogLine
from pytest_trt.runtime.plan import Plan

_MAGIC = b"pytest-trt plan 1\n"
_KEY = re.compile(r"[0-9a-f]{64}")
_SECRET = "secret"


def default_folder() -> Path:
    """Return the user's cache folder: under `XDG_CACHE_HOME`, else `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "pytest-trt"


class PlanCache:
    """Plans in a folder, one file each.

    A plan is code, so the folder is 0700 and each file ends in an HMAC-SHA-256 under a secret that only the
    user can read; a file that another program wrote, that was cut or changed, or that was renamed to another
    key is not loaded but removed. Writers replace files whole, so that a reader sees old or new. Nothing is
    created before the first `store`.

    Parameters
    ----------
    folder : path, optional
        Where the folder `plans` is made; None is the user's cache. `folder` itself keeps its mode.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.root = (Path(folder) if folder is not None else default_folder()) / "plans"

    def load(self, key: str) -> Plan | None:
        """Return the plan of a key, None when it is not here or not ours."""
        path = self._path(key)
        secret = self._secret(create=False)
        if secret is None:
            return None
        try:
            blob = path.read_bytes()
        except OSError:
            return None
        body, seal = blob[:-32], blob[-32:]
        if not hmac.compare_digest(seal, _seal(secret, key, body)) or not body.startswith(_MAGIC):
            with suppress(OSError):
                path.unlink()
            return None
        header, data = body[len(_MAGIC) :].split(b"\n", 1)
        facts = json.loads(header)
        return Plan(
            data,
            tuple(LogLine(**line) for line in facts["log"]),
            0.0,
            facts["captured"],
            frozenset(facts["flags"]),
            tuple(_layer(layer) for layer in facts["layers"]),
        )

    def store(self, key: str, plan: Plan) -> None:
        """Keep a plan; a file of that key is replaced.

        Raises
        ------
        SettingsError
            The folder cannot be made or written, or other users may write to it.
        """
        path = self._path(key)
        facts = {
            "log": [asdict(line) for line in plan.log],
            "captured": plan.captured,
            "flags": sorted(plan.flags),
            "layers": [asdict(layer) for layer in plan.layers],
        }
        body = _MAGIC + json.dumps(facts).encode() + b"\n" + plan.data
        try:
            secret = self._secret(create=True)
            assert secret is not None
            self._write(path, body + _seal(secret, key, body))
        except OSError as error:
            raise SettingsError(
                f"the plan cache {str(self.root)!r} cannot be written: {error}", mend="--trt-cache-dir=DIR"
            ) from error

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a content key: {key!r}")
        return self.root / f"{key}.plan"

    def _check_private(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = self.root.stat()
        if facts.st_uid != os.getuid():
            raise SettingsError(
                f"the plan cache {str(self.root)!r} belongs to another user",
                why="plans are code",
                mend="--trt-cache-dir=DIR",
            )
        if stat.S_IMODE(facts.st_mode) & 0o077:
            self.root.chmod(0o700)

    def _secret(self, create: bool) -> bytes | None:
        """Return the user's secret; a file that others could read or write is not one."""
        path = self.root / _SECRET
        if create:
            self._check_private()
        for _ in range(2):
            with suppress(OSError):
                facts = path.lstat()
                if stat.S_ISREG(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077:
                    secret = path.read_bytes()
                    if len(secret) == 32:
                        return secret
            if not create:
                return None
            with suppress(FileExistsError):
                self._write_secret(path)
        raise SettingsError(
            f"the secret of the plan cache, {str(path)!r}, is not a private file of 32 bytes",
            mend=f"remove {path}",
        )

    def _write_secret(self, path: Path) -> None:
        """Make the secret file; of several processes that try at once the first one wins."""
        descriptor, name = tempfile.mkstemp(dir=self.root)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
            os.link(name, path)
        finally:
            os.unlink(name)

    def _write(self, path: Path, blob: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.root)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(blob)
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def _seal(secret: bytes, key: str, body: bytes) -> bytes:
    return hmac.new(secret, key.encode() + b"\0" + body, hashlib.sha256).digest()


def _layer(facts: dict[str, object]) -> LayerInfo:
    return LayerInfo(**{name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()})  # type: ignore[arg-type]
