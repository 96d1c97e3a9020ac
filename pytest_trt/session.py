"""What one pytest session of ours knows: settings, runtimes, the running test, what was not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import RuntimeMissingError, SettingsError, TrtError
from pytest_trt.options import Resolved
from pytest_trt.settings import Settings

if TYPE_CHECKING:
    from pytest_trt.check.workbench import Workbench
    from pytest_trt.hardware import GpuClass
    from pytest_trt.marks import Marks
    from pytest_trt.report.tally import Tally
    from pytest_trt.runtime.load import Discovery

DEFAULT_GPU = "t4"
OFF = ("switched off by --trt-runtime=off", "leave --trt-runtime=off out")
BUILD_COMMAND = 'pip install "pytest-trt[rtx]"'


# Small classes by hand: each dataclass costs half a millisecond of every session that only loads the plugin.
class Running:
    """The test that runs now.

    Attributes
    ----------
    item : pytest.Item
    precision : str or None
        None: it was not multiplied.
    marks : Marks or None
        What its markers say; None without one of ours.
    tally : Tally or None
        What its checks saw.
    """

    def __init__(self, item: pytest.Item, marks: Marks | None) -> None:
        self.item = item
        self.precision = precision_of(item)
        self.marks = marks
        self.tally: Tally | None = None


class NotRun:
    """How many tests use us, and how many were collected that do not run, with the reasons."""

    def __init__(self) -> None:
        self.uses = 0
        self.deselected = 0
        self.not_applicable: dict[str, int] = {}

    def to_plain(self) -> dict[str, Any]:
        """Return it as data that travels between processes."""
        return {"uses": self.uses, "deselected": self.deselected, "not_applicable": dict(self.not_applicable)}


class Session:
    """State of one pytest session, kept in `config.stash[KEY]`; each heavy part is made at its first use."""

    def __init__(self, config: pytest.Config, resolved: Resolved) -> None:
        self.config = config
        self.settings: Settings = resolved.settings
        self.asked = resolved.asked
        self.not_run = NotRun()
        self.running: Running | None = None
        self.skips: dict[str, list[str]] = {}  # what each skip of ours lacks, by its words
        self._discovery: Discovery | None = None
        self._workbench: Workbench | None = None
        self._trouble: TrtError | None = None

    @property
    def is_off(self) -> bool:
        """True under `--trt-runtime=off`."""
        return self.settings.runtime == "off"

    @property
    def gpu(self) -> GpuClass:
        """The GPU class of this session: the one asked for, else the real GPU's, else a T4.

        Raises
        ------
        SettingsError
            The real GPU has no class that is known.
        """
        from pytest_trt import hardware

        if self.settings.gpu != "auto":
            return hardware.get(self.settings.gpu)
        gpus = hardware.detect()
        ordinal = int(self.settings.device.partition(":")[2] or 0)
        if ordinal < len(gpus) and gpus[ordinal].gpu_class is not None:
            return gpus[ordinal].gpu_class or hardware.get(DEFAULT_GPU)
        return hardware.get(DEFAULT_GPU)

    @property
    def discovery(self) -> Discovery:
        """Who executes and who builds.

        Raises
        ------
        RuntimeMissingError, SettingsError
            As `pytest_trt.runtime.load.discover`.
        """
        if self._trouble is not None:
            raise self._trouble
        if self._discovery is None:
            try:
                self._discovery = self.config.hook.pytest_trt_make_discovery(
                    config=self.config, settings=self.settings
                )
            except (RuntimeMissingError, SettingsError) as error:
                self._trouble = error  # told by every test that needs it, found once
                raise
            self.config.hook.pytest_trt_update_discovery(config=self.config, discovery=self._discovery)
        assert self._discovery is not None
        return self._discovery

    @property
    def workbench(self) -> Workbench:
        """What builds, runs and checks; made at first use."""
        if self._workbench is None:
            self._workbench = self.config.hook.pytest_trt_make_workbench(
                config=self.config, settings=self.settings, discovery=self.discovery
            )
            self.config.hook.pytest_trt_update_workbench(config=self.config, workbench=self._workbench)
        assert self._workbench is not None
        return self._workbench

    def need_execution(self) -> None:
        """Skip unless something executes, and fail where `--trt-require` asks for more than there is.

        Raises
        ------
        pytest.skip.Exception
            Nothing executes.
        pytest.fail.Exception
            `--trt-require` has `gpu` and there is no real GPU, or `execute` and no real TensorRT executes.
        """
        __tracebackhide__ = True
        executor = self._found().executor
        if "gpu" in self.settings.require:
            from pytest_trt import hardware

            if not hardware.detect():
                self._lack("gpu", *self._told("gpu", "no real GPU", "run on a machine with an NVIDIA GPU"))
        if executor is None or (executor.emulated and "execute" in self.settings.require):
            self._lack("execute", *self._why_no_execution())

    def need_engines(self) -> None:
        """Skip where nothing executes, and fail where `--trt-require=build` asks for a builder that is not there."""
        __tracebackhide__ = True
        self.need_execution()
        self.need_build()

    def need_precision(self, precision: str | None) -> None:
        """Skip where onnx or onnxruntime is too old for a precision, and fail under `--trt-require=execute`."""
        __tracebackhide__ = True
        if precision == "int8":
            precision = self.settings.hybrid
        if precision != "bf16" or self.is_off:  # the others need nothing, so nothing is imported for them
            return
        from pytest_trt.precision.support import find_lack

        lack = find_lack(precision)
        if lack is not None:
            self._lack("execute", *lack)

    def need_build(self) -> None:
        """Fail where `--trt-require=build` asks for a real TensorRT that builds and there is none."""
        __tracebackhide__ = True
        if "build" in self.settings.require and self.discovery.builder is None:
            self._lack("build", *self._why_no_build())

    def need_builder(self) -> None:
        """Skip unless a real TensorRT builds, and fail instead under `--trt-require=build`."""
        __tracebackhide__ = True
        if self._found().builder is None:
            self._lack("build", *self._why_no_build())

    def need_golden(self, reason: str, mend: str) -> None:
        """Skip for lack of a golden, and fail instead under `--trt-require=golden`."""
        __tracebackhide__ = True
        self._lack("golden", reason, mend)

    def _found(self) -> Discovery:
        __tracebackhide__ = True
        trouble: TrtError
        try:
            return self.discovery
        except TrtError as error:
            trouble = error
        pytest.fail(f"trt: {trouble}", pytrace=False)

    def _lack(self, requirement: str, reason: str, mend: str) -> None:
        __tracebackhide__ = True
        if requirement in self.settings.require:
            pytest.fail(
                f"trt: --trt-require={requirement} is not met: {reason}\n  mend   {mend}", pytrace=False
            )
        words = f"trt: {reason}; to get it: {mend}"
        self.skips[words] = [requirement, reason, mend]
        pytest.skip(words)

    def _told(self, name: str, reason: str = "", mend: str = "") -> tuple[str, str]:
        """Return what the search for runtimes says about a missing thing: the reason, and how to get it."""
        found = (thing for thing in self.discovery.missing if thing.name == name)
        return next(((thing.reason, thing.mend) for thing in found), (reason, mend))

    def _why_no_build(self) -> tuple[str, str]:
        return OFF if self.is_off else self._told("build", "no real TensorRT builds here", BUILD_COMMAND)

    def _why_no_execution(self) -> tuple[str, str]:
        if self.is_off:
            return OFF
        told = {name: self._told(name) for name in ("tensorrt", "tensorrt_rtx", "gpu", "pycuda", "execute")}
        known = {name: words for name, words in told.items() if words[0]}
        mends = [mend for _, mend in known.values()]
        if self.settings.runtime not in ("auto", "emulator"):
            mends.append("--trt-runtime=auto")
        reasons = "; ".join(f"{name}: {reason}" for name, (reason, _) in known.items())
        return f"no real TensorRT executes here: {reasons}", "; or ".join(dict.fromkeys(mends))

    def close(self) -> None:
        """Close the workbench and give the devices back, if there are any."""
        workbench, self._workbench = self._workbench, None
        if workbench is not None:
            workbench.close()
        discovery, self._discovery = self._discovery, None
        if discovery is not None:
            discovery.close()


KEY = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """Return the state of a pytest session."""
    return config.stash[KEY]


def function_id(item: pytest.Item) -> str:
    """Return the node id of a test function, without its parameters."""
    name = getattr(item, "originalname", None) or item.name
    return name if item.parent is None else f"{item.parent.nodeid}::{name}"


def precision_of(item: pytest.Item) -> str | None:
    """Return the precision that a test was multiplied with, None for one that was not."""
    params: Mapping[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    value = params.get("trt_precision")
    return value if isinstance(value, str) else None
