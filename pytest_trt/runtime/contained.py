"""Work in processes that may crash or hang: each piece ends with a name for how it ended, and none takes another with it.

A worker keeps a journal: a line before each piece and one after it. When it dies, the piece that was open is the one that killed
it; the rest goes to a new worker. What compilers and drivers print goes to a file beside the journal, never between results.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.errors import ExecutionError

DONE, RAISED, CRASHED, HUNG = "done", "raised", "crashed", "hung"
_TASK, _JOURNAL, _PRINTED = "task", "journal", "printed"
_TAIL_BYTES = 2000
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Ended:
    """How one piece of work ended.

    Attributes
    ----------
    key : str
        Of the piece.
    how : str
        `done`, `raised` (a Python exception), `crashed` (the process died) or `hung` (it was ended).
    value : object
        What the work returned, as JSON gives it back.
    words : str
        The exception, the signal or exit status, or the limit that was passed.
    seconds : float
        From its begin to its end.
    printed : str
        Crashed and hung: the last that the process printed.
    """

    key: str
    how: str
    value: Any = None
    words: str = ""
    seconds: float = 0.0
    printed: str = ""


def run_contained(
    target: str,
    items: Mapping[str, Any],
    *,
    arguments: Mapping[str, Any] | None = None,
    workers: int | None = None,
    batch: int = 64,
    timeout: float = 60.0,
    start_timeout: float = 120.0,
    most_bytes: int | None = None,
) -> Iterator[Ended]:
    """Yield how each item ended, in the order in which they end.

    Parameters
    ----------
    target : str
        `package.module:function`. In the worker, `function(**arguments)` returns what is called with each item; what that
        returns has to be JSON.
    items : mapping of str to object
        Key to what is handed over; it is pickled.
    arguments : mapping, optional
        Also pickled.
    workers : int, optional
        Processes at a time; default: as many as there are processors.
    batch : int
        Items that one process takes before it makes room for a fresh one.
    timeout, start_timeout : float
        Seconds for one item, and for a worker to begin; its first item may take as long, since it pays for late imports.
    most_bytes : int, optional
        Resident memory above which a worker is ended, where `/proc` tells it. A limit on address space would not do: CUDA
        libraries reserve far more than they use.

    Raises
    ------
    ExecutionError
        A worker ended before it began anything: the target does not import, or does not start.
    """
    queue = deque(_cut(list(items), batch))
    live: list[_Worker] = []
    try:
        while queue or live:
            while queue and len(live) < (workers or os.cpu_count() or 1):
                keys = queue.popleft()
                task = (target, dict(arguments or {}), {key: items[key] for key in keys})
                live.append(_Worker(task, timeout, start_timeout, most_bytes))
            time.sleep(_POLL_SECONDS)
            for worker in list(live):
                yield from worker.look()
                if worker.ended:
                    live.remove(worker)
                    if worker.left:
                        queue.appendleft(worker.left)
    finally:
        for worker in live:
            worker.stop()


def _cut(keys: Sequence[str], size: int) -> list[list[str]]:
    return [list(keys[start : start + size]) for start in range(0, len(keys), size)]


class _Worker:
    def __init__(
        self, task: tuple[Any, ...], timeout: float, start_timeout: float, most_bytes: int | None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="trt-contained-")
        self._path = Path(self._folder.name)
        self._timeout, self._start_timeout, self._most_bytes = timeout, start_timeout, most_bytes
        self.left: list[str] = list(task[2])
        self.ended = False
        self._open: str | None = None
        self._since = time.monotonic()
        self._read = 0
        self._begun = self._warm = False
        (self._path / _TASK).write_bytes(pickle.dumps(task))
        (self._path / _JOURNAL).touch()
        with (self._path / _PRINTED).open("wb") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest_trt.runtime.contained", self._folder.name],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                start_new_session=True,
            )

    def look(self) -> Iterator[Ended]:
        """Yield what ended since the last look; afterwards `ended` and `left` are right."""
        status = self._process.poll()  # before the journal is read: a dead worker writes no more
        yield from self._journaled()
        if status is None:
            words = self._excess()
            if words is None:
                return
            self.stop()
            yield from self._journaled()
            if self._open is not None:
                yield self._fail(HUNG if words.startswith("no end") else CRASHED, words)
            elif not self._begun:
                raise self._unborn(words)
        elif self._open is not None:
            yield self._fail(CRASHED, describe_exit(status))
        elif self.left and not self._begun:
            raise self._unborn(describe_exit(status))
        self.ended = True
        self._folder.cleanup()

    def _journaled(self) -> Iterator[Ended]:
        with (self._path / _JOURNAL).open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text.rpartition(b"\n")[0] + b"\n" if b"\n" in text else b""
        self._read += len(whole)
        for line in whole.decode().splitlines():
            entry = json.loads(line)
            self._begun = True
            self._since = time.monotonic()
            if "begin" in entry:
                self._open = entry["begin"]
                continue
            key, self._open, self._warm = entry["end"], None, True
            self.left.remove(key)
            yield Ended(key, entry["how"], entry["value"], entry["words"], entry["seconds"])

    def _excess(self) -> str | None:
        limit = self._timeout if self._warm else max(self._timeout, self._start_timeout)
        if time.monotonic() - self._since > limit:
            return f"no end within {limit:g} s"
        if self._most_bytes is not None:
            held = _resident_bytes(self._process.pid)
            if held > self._most_bytes:
                return f"{held >> 20} MiB of memory, more than {self._most_bytes >> 20}"
        return None

    def _fail(self, how: str, words: str) -> Ended:
        key = self._open
        assert key is not None
        self._open = None
        self.left.remove(key)
        return Ended(key, how, None, words, time.monotonic() - self._since, self._tail())

    def _tail(self) -> str:
        return (self._path / _PRINTED).read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace").strip()

    def _unborn(self, words: str) -> ExecutionError:
        return ExecutionError(
            f"a worker ended before it began anything: {words}", why=self._tail().splitlines()[-5:]
        )

    def stop(self) -> None:
        """End the process and all that it started."""
        if self._process.poll() is None:
            with suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
            self._process.wait()


def describe_exit(status: int) -> str:
    """Return an exit status in words: `signal SIGSEGV`, `exit status 3`."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def work(folder: Path) -> None:
    """Do the pieces of a folder, one after the other; the worker's side."""
    target, arguments, items = pickle.loads((folder / _TASK).read_bytes())
    journal = os.open(folder / _JOURNAL, os.O_WRONLY | os.O_APPEND)

    def note(**entry: Any) -> None:
        os.write(
            journal, json.dumps(entry).encode() + b"\n"
        )  # one write: a line is there whole or not at all

    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)(**arguments)
    for key, item in items.items():
        note(begin=key)
        begin = time.perf_counter()
        how, value, words = DONE, None, ""
        try:
            value = function(item)
        except Exception as error:  # whatever it is, it is the answer
            how, words = RAISED, f"{type(error).__name__}: {error}"
        note(end=key, how=how, value=value, words=words, seconds=round(time.perf_counter() - begin, 4))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
    os._exit(
        0
    )  # without tear-down: the results are written, and a crash in a destructor would say nothing of them
