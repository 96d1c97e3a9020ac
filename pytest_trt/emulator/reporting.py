"""Where errors and log lines go: to the error recorder if one is attached, else to the logger."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_trt.emulator.host import Host


def shielded(call: Callable[..., Any], *args: Any, default: Any = None) -> Any:
    """Return `call(*args)`; an exception is printed on stderr and dropped, as the bindings do.

    Parameters
    ----------
    call : callable
        A method of an object that the user made.
    default : object
        What stands for the result when the call raised.
    """
    try:
        return call(*args)
    except Exception:
        print(f"[ERROR] Exception caught in {getattr(call, '__name__', call)}:", file=sys.stderr)
        traceback.print_exc()
        return default


class Reporter:
    """Reports for one object of the played TensorRT, and for those made from it later.

    Parameters
    ----------
    host : Host
        The module.
    logger : ILogger
        The logger of the builder, runtime or refitter that the object came from.
    recorder : IErrorRecorder or None
        Attached recorder: errors go to it and not to the logger.
    is_second : bool
        The object was made with another logger than the registered one, whichever of them is told.
    """

    def __init__(self, host: Host, logger: Any, recorder: Any = None, is_second: bool = False) -> None:
        self._host = host
        self.logger = logger
        self.recorder = recorder
        self._is_second = is_second

    def child(self) -> Reporter:
        """Return the reporter of a new object: it inherits what is attached now."""
        return Reporter(self._host, self.logger, self.recorder, self._is_second)

    def log(self, severity: str, text: str) -> None:
        """Give a line to the logger."""
        self._deliver(severity, text, "", "")

    def error(self, code: str, where: str, text: str, severity: str = "ERROR") -> None:
        """Report an error: to the recorder if one is attached, else to the logger, in the same words.

        Parameters
        ----------
        code : str
            Member name of `ErrorCodeTRT`.
        where : str
            The C++ function that a real message would name.
        text : str
            What is wrong.
        severity : str
            For the logger.
        """
        value = self._host.enum("ErrorCodeTRT")._table[code]
        kind = (
            "API Usage Error" if code in ("INVALID_ARGUMENT", "INVALID_CONFIG", "INVALID_STATE") else "Error"
        )
        self._deliver(severity, f"{where}: Error Code {int(value)}: {kind} ({text})", code, where)

    def _deliver(self, severity: str, text: str, code: str, where: str) -> None:
        host = self._host
        to: tuple[str, ...] = ("recorder",) if code and self.recorder is not None else ("logger",)
        if host.faults:
            site = host.faults.hear(
                "log",
                severity=severity,
                text=text,
                code=code,
                function=where,
                to=to,
                is_second=self._is_second,
                thread_id=threading.get_ident(),
            )
            severity, text, to = site.severity, site.text, site.to
        for place in to:
            if place == "logger":
                shielded(self.logger.log, host.enum("ILogger.Severity")._table[severity], text)
            elif self.recorder is not None and code:
                shielded(self.recorder.report_error, host.enum("ErrorCodeTRT")._table[code], text)

    def attach(self, recorder: Any) -> None:
        """Attach a recorder or, with None, detach; the C++ side asks a new one for `get_num_errors`."""
        self.recorder = recorder
        if recorder is None:
            return
        count = getattr(recorder, "get_num_errors", None)
        if count is None:
            print(
                '[ERROR] Tried to call pure virtual function "IErrorRecorder::get_num_errors"',
                file=sys.stderr,
            )
        else:
            shielded(count, default=0)
