"""Record a golden in children that die at each call to the system in turn, and print what a reader finds afterwards.

Run as a program: a child that dies must not be the test process. Prints one line a step: `old`, `new`, or what is wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from pytest_trt.errors import GoldenError
from pytest_trt.golden import folder
from pytest_trt.golden.store import open_store
from tests.unit.golden.stores import KEY, is_same, make_golden

_CALLS = ("open", "fsync", "replace", "unlink", "rmdir", "makedirs", "close")


class Half:
    """A file that dies after half of its bytes where the step is this one."""

    def __init__(self, file: Any, dies: Callable[[], bool]) -> None:
        self._file, self._dies = file, dies

    def __enter__(self) -> Half:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        if self._dies():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            os._exit(9)
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def record(place: str, step: int) -> None:
    """Record number 2, and die before the call to the system of that step; exit 0 where there are fewer."""
    count = 0

    def dies() -> bool:
        nonlocal count
        count += 1
        return count > step

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            if dies():
                os._exit(9)
            return call(*arguments, **named)

        return run

    for name in _CALLS:
        setattr(os, name, wrap(getattr(os, name)))
    plain = open

    def open_half(where: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        file = plain(where, mode, *arguments, **named)
        return Half(file, dies) if mode == "wb" else file

    folder.open = open_half  # type: ignore[attr-defined]
    open_store(place).save(make_golden(2))
    os._exit(0)


def main(place: str) -> None:
    """Kill at step after step until a record ends by itself."""
    store = open_store(place)
    for step in range(200):
        store.save(make_golden(1))
        store.clean()
        child = os.fork()
        if not child:
            record(place, step)
        _, status = os.waitpid(child, 0)
        try:
            golden = store.load(KEY)
            new = is_same(golden, make_golden(2))
            print("new" if new else "old" if is_same(golden, make_golden(1)) else "a mixture")
        except GoldenError as error:
            print(error.what)
        store.clean()
        odd = store.problems()
        if odd:
            print("after cleaning:", odd)
        if os.waitstatus_to_exitcode(status) == 0:
            return
    print("never ends")


if __name__ == "__main__":
    main(sys.argv[1])
