"""Plans that never lie in memory as a whole: TensorRT hands them over piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_trt.errors import UnsupportedError
from pytest_trt.runtime.build import BuildRequest, build_now
from pytest_trt.runtime.features import probe
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plan import Plan


def can_stream(rt: Runtime) -> bool:
    """Return whether a TensorRT writes plans to a stream: `IStreamWriter`, from 10.13 on."""
    return probe(rt.trt.Builder, "build_serialized_network_to_stream") and probe(rt.trt, "IStreamWriter")


def write_plan(rt: Runtime, request: BuildRequest, write: Callable[[bytes], Any]) -> Plan:
    """Return a plan without its bytes: these go to `write`, piece by piece, as TensorRT makes them.

    Parameters
    ----------
    rt : Runtime
    request : BuildRequest
    write : callable
        Takes bytes, as the method of a file that writes all or raises.

    Raises
    ------
    UnsupportedError
        This TensorRT has no `IStreamWriter`, or it refused; what `write` raises comes out as it is.
    """
    if not can_stream(rt):
        raise UnsupportedError(
            f"{rt.title} writes no plan to a stream",
            why="it has no Builder.build_serialized_network_to_stream",
            mend="TensorRT 10.13 or newer; or build_plan, which holds the plan in memory",
        )
    failed: list[BaseException] = []

    def start(this: Any) -> None:
        rt.trt.IStreamWriter.__init__(this)

    def take(this: Any, data: Any) -> int:
        piece = bytes(data)
        try:
            write(piece)
        except BaseException as error:  # TensorRT drops what a callback raises
            failed.append(error)
            return 0
        return len(piece)

    writer = type("Writer", (rt.trt.IStreamWriter,), {"__init__": start, "write": take})()
    try:
        return build_now(rt, request, writer=writer)
    except UnsupportedError:
        if failed:
            raise failed[0] from None
        raise
