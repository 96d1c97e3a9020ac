"""Several devices in one process: a runtime for each of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from pytest_trt.errors import RuntimeMissingError
from pytest_trt.runtime.driver import count_devices
from pytest_trt.runtime.load import Runtime

EMULATED = 2  # devices of the emulator on a CPU; more of them would show nothing new

_families: dict[Runtime, tuple[Runtime, ...]] = {}  # until the memory of the first one is closed
_lock = threading.Lock()


def executors(rt: Runtime) -> tuple[Runtime, ...]:
    """Return one runtime for each device that this process sees, `rt` itself first.

    A real TensorRT is one module, with the memory and the primary context of another GPU: what is done in `Runtime.active()`, and
    by a `Session`, is done on that GPU. The emulator on `cuda:N` is loaded again for each GPU; on a CPU it plays two devices,
    whose streams and buffers know nothing of each other. GPUs that a TensorRT-RTX does not execute on are left out.

    The others live as long as the memory of `rt`, and asking again gives the same ones.

    Raises
    ------
    RuntimeMissingError
        The runtime only builds, or another GPU cannot be used.
    SettingsError
        The class of another GPU is unknown.
    """
    memory = rt.memory
    if memory is None:
        raise RuntimeMissingError(f"{rt.title} only builds here", mend="--trt-runtime=emulator")
    with _lock:
        known = _families.get(rt)
        if known is None:
            known = (rt, *_make_others(rt))
            for member in known:
                _families[member] = known
            memory.ledger.before_close(partial(_end, known))
    return known


def _make_others(rt: Runtime) -> tuple[Runtime, ...]:
    if rt.elsewhere is None:
        return ()
    if rt.device == "cpu":
        numbers = list(range(1, EMULATED))
    else:
        numbers = [number for number in range(count_devices()) if f"cuda:{number}" != rt.device]
    made: list[Runtime] = []
    try:
        for number in numbers:
            other = rt.elsewhere(number)
            if other is not None:
                made.append(other)
    except BaseException:
        _close(made)
        raise
    return tuple(made)


def _end(family: tuple[Runtime, ...]) -> None:
    for member in family:
        _families.pop(member, None)
    _close(family[1:])


def _close(others: Sequence[Runtime]) -> None:
    for other in others:
        if other.memory is not None:
            other.memory.close()
