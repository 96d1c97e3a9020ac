"""The runtime, which makes engines of plans, and the rules of which plan it takes."""

from __future__ import annotations

from typing import Any

from pytest_trt.emulator.bound import Threaded
from pytest_trt.emulator.plan import HEADER_BYTES, Plan, PlanError
from pytest_trt.emulator.reporting import Reporter


class Runtime(Threaded):
    """Makes engines of plans."""

    _reporter: Reporter

    def __init__(self, logger: Any) -> None:
        self._reporter = self._host.reporter(self, logger, "createInferRuntime")
        self._logger = logger
        self._threads = 1
        self._host_code = False
        self._directory = ""
        self._defer = False
        self._core = -1

    @property
    def num_DLA_cores(self) -> int:
        """0: there is no DLA."""
        return 0

    @property
    def DLA_core(self) -> int:
        """-1: there is no DLA."""
        return self._core

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:
        self._core = value

    @property
    def engine_host_code_allowed(self) -> bool:
        """Whether plans that embed a lean runtime may be loaded."""
        return self._host_code

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value: bool) -> None:
        self._host_code = bool(value)

    @property
    def temporary_directory(self) -> str:
        """Where a lean runtime would be unpacked."""
        return self._directory

    @temporary_directory.setter
    def temporary_directory(self, value: str) -> None:
        self._directory = str(value)

    def get_plugin_registry(self) -> Any:
        """Return the registry of plugins."""
        return self._host.registry

    @property
    def engine_header_size(self) -> int:
        """How many bytes `get_engine_validity` needs."""
        return HEADER_BYTES

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        """Return the engine of a plan, or None with a logged error."""
        return self._host.make_engine(bytes(memoryview(serialized_engine)), self._reporter.child(), self)

    def get_engine_validity(self, buffer: Any) -> tuple[Any, int]:
        """Return (`EngineValidity`, bit mask of diagnostics) of a plan or of its header."""
        valid = self._host.enum("EngineValidity")._table
        diagnostics = self._host.enum("EngineInvalidityDiagnostics")._table
        data = bytes(memoryview(buffer))
        if not Plan.is_headed(data):
            return valid["INVALID"], int(diagnostics["MALFORMED_ENGINE"])
        try:
            plan = Plan.unpack(data)
        except PlanError:
            return valid["INVALID"], 0
        if (plan.product, plan.version) != (self._host.product, self._host.version):
            return valid["INVALID"], int(diagnostics["VERSION_MISMATCH"])
        if self._host.sm not in plan.sms:
            return valid["INVALID"], int(diagnostics["UNSUPPORTED_CC"])
        return valid["VALID"], 0


def refusal_of(plan: Plan, product: str, version: str, sm: int, host_code: bool) -> str:
    """Return why a plan cannot be loaded, or an empty text."""
    ours, theirs = int(version.split(".")[0]), int(plan.version.split(".")[0])
    if plan.product != product:
        return f"The engine plan file is of {plan.product}, this is {product}, please rebuild."
    if plan.version != version:
        later = _number(version) >= _number(plan.version) and (
            ours == theirs or (theirs, ours) in ((8, 10), (10, 11))
        )
        if not (plan.version_compatible and later):
            return (
                "The engine plan file is not compatible with this version of TensorRT, expecting library version"
                f" {version} got {plan.version}, please rebuild."
            )
        if not host_code:
            return (
                "Cannot deserialize engine with lean runtime. Please set Runtime.engine_host_code_allowed before"
                " calling this function."
            )
    if sm not in plan.sms and not (plan.ampere_plus and sm >= 80):
        built = ", ".join(f"{s // 10}.{s % 10}" for s in plan.sms)
        return (
            "The engine plan file is generated on an incompatible device, expecting compute"
            f" {sm // 10}.{sm % 10} got compute {built}, please rebuild."
        )
    return ""


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
