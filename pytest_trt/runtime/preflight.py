"""Whether a plan can be loaded, tried where it does no harm: by its header, or in a process that may crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_trt.errors import RuntimeMissingError
from pytest_trt.runtime.contained import CRASHED, DONE, HUNG, run_contained
from pytest_trt.runtime.features import members
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import errors_in, logger_of
from pytest_trt.runtime.modules import Found, find

LOADED, REFUSED, SILENT = "loaded", "refused in words", "refused without a word"
VALID, UNKNOWN = "valid", "unknown"
_SECONDS = 120.0


@dataclass(frozen=True)
class Preflight:
    """How an attempt to load a plan ended.

    Attributes
    ----------
    outcome : str
        `LOADED`, `REFUSED`, `SILENT`, or `crashed` or `hung` of `runtime.contained`.
    words : tuple of str
        What TensorRT logged as an error, or how the process ended.
    """

    outcome: str
    words: tuple[str, ...] = ()


def try_plans(product: str, plans: Mapping[str, bytes], *, seconds: float = _SECONDS) -> dict[str, Preflight]:
    """Return how a real TensorRT loads each of some plans, in a process of its own: a damaged one may end it.

    Parameters
    ----------
    product : str
        `tensorrt` or `tensorrt_rtx`.
    plans : mapping of str to bytes
        By a name to tell it by.
    seconds : float
        For each, after which it counts as hung.

    Raises
    ------
    ExecutionError
        The process does not start: TensorRT does not load there.
    """
    found = {}
    target = f"{__name__}:make_loader"
    for ended in run_contained(
        target, plans, arguments={"product": product}, workers=1, timeout=seconds, start_timeout=_SECONDS
    ):
        if ended.how == DONE:
            loaded, words = ended.value["loaded"], tuple(ended.value["words"])
            found[ended.key] = Preflight(LOADED if loaded else REFUSED if words else SILENT, words)
        else:
            how = ended.how if ended.how in (CRASHED, HUNG) else REFUSED  # an exception says why
            found[ended.key] = Preflight(how, (ended.words,))
    return {name: found[name] for name in plans}


def make_loader(product: str) -> Callable[[bytes], dict[str, Any]]:
    """Return what loads one plan and says how that ended; called in the worker.

    Raises
    ------
    RuntimeMissingError
        The product is not usable.
    """
    found = find(product)
    if not isinstance(found, Found):
        raise RuntimeMissingError(found.reason, mend=found.mend)
    trt, logger = found.trt, logger_of(found.trt)

    def load(data: bytes) -> dict[str, Any]:
        with logger.collect() as lines:
            runtime = trt.Runtime(logger.raw)
            engine = None if runtime is None else runtime.deserialize_cuda_engine(data)
            loaded = engine is not None
            del engine, runtime
        return {"loaded": loaded, "words": [line[:400] for line in errors_in(lines)]}

    return load


def read_validity(rt: Runtime, data: bytes) -> str:
    """Return what a TensorRT with `get_engine_validity` says of a plan's header: `VALID`, `UNKNOWN`, or why it is not valid.

    `UNKNOWN`: this TensorRT has no such call, or says no reason. TensorRT-RTX 1.7.1 does so without a driver, of good plans too.

    Notes
    -----
    The header alone is looked at: a plan whose rest is damaged passes.
    """
    if not rt.features.engine_validity:
        return UNKNOWN
    trt = rt.trt
    with rt.logger.collect(), rt.active():
        runtime = trt.Runtime(rt.logger.raw)
        validity, diagnostics = runtime.get_engine_validity(data[: int(runtime.engine_header_size)])
        del runtime
    if validity == trt.EngineValidity.VALID:
        return VALID
    bits = {name: int(value) for name, value in members(trt.EngineInvalidityDiagnostics).items()}
    reasons = sorted(name for name, bit in bits.items() if int(diagnostics) & bit)
    return ", ".join(reasons) or UNKNOWN
