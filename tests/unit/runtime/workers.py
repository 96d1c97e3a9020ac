"""Work for `run_contained`: what ends badly, each in its own way."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time


def make(offset=0):
    print("garbage of a compiler \x00\xff", flush=True)

    def work(item):
        what = item if isinstance(item, str) else None
        if what == "segfault":
            ctypes.string_at(0)
        if what == "abort":
            os.write(2, b"terminate called without an active exception\n")
            os.abort()
        if what == "hang":
            os.read(os.pipe()[0], 1)
        if what == "exit":
            os._exit(3)
        if what == "leave":
            sys.exit(4)
        if what == "print":
            print('{"end": "0", "how": "done"}\n' * 100, flush=True)
            os.write(1, b'{"begin": "nobody"}\n')
        if what == "raise":
            raise ValueError("no\nsuch thing")
        if what == "swell":
            held = bytearray(600 << 20)
            held[::4096] = b"x" * len(held[::4096])
            signal.pause()
        if what == "slow":
            time.sleep(0.01)
        return what if what is not None else item + offset

    return work


def make_nothing():
    os._exit(7)
