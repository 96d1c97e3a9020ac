"""One writer at a time: a lock between processes and threads that ends with its holder, also when that is killed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pytest_trt.errors import GoldenError


@contextmanager
def hold_lock(path: str, seconds: float = 120.0) -> Iterator[None]:
    """Hold the lock that a file stands for; the file is gone afterwards.

    The lock is the kernel's (`flock`): a file that a killed process left is no lock, and nobody has to guess its age.

    Parameters
    ----------
    path : str
        In a folder that exists.
    seconds : float
        How long to wait for another holder.

    Raises
    ------
    GoldenError
        Another process held it for all that time, or the file system has no locks.
    """
    import fcntl

    end = time.monotonic() + seconds
    pause = 0.001
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(descriptor, path):
                break
        except BlockingIOError:
            if time.monotonic() > end:
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise GoldenError(
                    f"the goldens are locked by process {holder} since {seconds:g} s ago or longer",
                    why=f"lock {path!r}",
                    mend=f"end process {holder} if it hangs",
                ) from None
        except OSError as error:
            os.close(descriptor)
            raise GoldenError(f"the goldens cannot be locked: {error}", why=f"lock {path!r}") from error
        # Held by another one, or its holder removed the file that was opened here.
        os.close(descriptor)
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def _is_same(descriptor: int, path: str) -> bool:
    """Tell whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
