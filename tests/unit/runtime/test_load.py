"""Who executes and who builds, under each option and on each machine."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_trt import hardware
from pytest_trt.errors import RuntimeMissingError, SettingsError
from pytest_trt.hardware import DetectedGpu
from pytest_trt.records import Missing, Settings
from pytest_trt.runtime import load
from pytest_trt.runtime.load import discover, load_fault
from pytest_trt.runtime.modules import Found

from .fake_trt import FakeTrt

ABSENT = "ImportError: libnvinfer.so.10: cannot open shared object file"
PYCUDA = Missing("pycuda", "PyCUDA is not usable: ImportError: No module named 'pycuda'", "pip install")


def fake_rtx() -> FakeTrt:
    trt = FakeTrt()
    trt.ComputeCapability = enum.IntEnum(  # type: ignore[attr-defined]
        "ComputeCapability", {"NONE": 0, "CURRENT": 1, "SM75": 75, "SM89": 89}
    )
    return trt


class Machine:
    """What is installed and plugged in; `discover` sees only this."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.products: dict[str, Any] = {}
        self.gpus: tuple[DetectedGpu, ...] = ()
        self.pycuda = True
        self.memories: list[int] = []
        self.played: list[tuple[Any, ...]] = []
        monkeypatch.setattr(load, "find", self.find)
        monkeypatch.setattr(hardware, "detect", lambda: self.gpus)
        monkeypatch.setattr(load, "CudaMemory", self.cuda_memory)
        emulator = ModuleType("pytest_trt.emulator")
        emulator.resolve = lambda text: ("tensorrt", "10.13.3.9")  # type: ignore[attr-defined]
        emulator.load = self.load_emulator  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pytest_trt.emulator", emulator)

    def has(self, product: str) -> Machine:
        self.products[product] = fake_rtx() if product == "tensorrt_rtx" else FakeTrt()
        return self

    def with_gpu(self, *names: str) -> Machine:
        classes = [hardware.get(name) for name in names]
        self.gpus = tuple(
            DetectedGpu(index, kind.title, kind.sm, kind, "580.1") for index, kind in enumerate(classes)
        )
        return self

    def find(self, product: str) -> Any:
        if product in self.products:
            return Found(self.products[product], product, "1.2.3")
        return Missing(product, ABSENT, f"pip install {product}")

    def cuda_memory(self, ordinal: int) -> Any:
        if not self.pycuda:
            raise RuntimeMissingError(PYCUDA.reason, mend=PYCUDA.mend)
        self.memories.append(ordinal)
        return SimpleNamespace(close=lambda: self.memories.remove(ordinal))

    def load_emulator(self, product: str, version: str, gpu: str, **options: Any) -> Any:
        self.played.append((product, version, gpu, options))
        trt = FakeTrt()
        trt.emulated_streams = object()  # type: ignore[attr-defined]
        return trt


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_bare_laptop_emulates_a_t4_and_says_what_is_missing(machine: Machine) -> None:
    found = discover(Settings(seed=5))
    assert found.executor is not None
    assert found.label == "emulator (tensorrt-10.13.3.9)"
    assert (found.executor.product, found.executor.plays) == ("emulator", "tensorrt-10.13.3.9")
    assert (found.executor.version, found.executor.gpu.name) == ("10.13.3.9", "t4")
    assert found.executor.emulated and found.executor.can_execute and found.executor.can_build
    assert machine.played == [("tensorrt", "10.13.3.9", "t4", {"device": "cpu", "faults": (), "seed": 5})]
    assert found.builder is None
    assert {thing.name for thing in found.missing} == {"gpu", "tensorrt", "tensorrt_rtx", "build"}
    build = found.lacks("build")
    assert build is not None
    assert ABSENT in build.reason
    assert 'pip install "pytest-trt[rtx]"' in build.mend


def test_a_laptop_with_rtx_emulates_and_builds_for_the_class(machine: Machine) -> None:
    found = discover(Settings(gpu="l4"))
    assert found.builder is None
    machine.has("tensorrt_rtx")
    found = discover(Settings(gpu="l4"))
    assert found.executor is not None and found.executor.emulated and found.executor.gpu.name == "l4"
    assert found.builder is not None
    assert found.builder.title == "TensorRT-RTX 1.2.3"
    assert found.builder.can_build and not found.builder.can_execute and found.builder.memory is None
    assert found.lacks("build") is None


def test_off_is_nothing(machine: Machine) -> None:
    found = discover(Settings(runtime="off", gpu="no such class"))
    assert (found.executor, found.builder, found.missing, found.label) == (None, None, (), "off")
    found.close()


def test_tensorrt_with_a_gpu_comes_first(machine: Machine) -> None:
    machine.has("tensorrt").has("tensorrt_rtx").with_gpu("t4")
    found = discover(Settings())
    assert found.label == "TensorRT 1.2.3"
    assert found.executor is found.builder
    assert found.executor is not None
    assert found.executor.device == "cuda:0" and found.executor.gpu.name == "t4"
    assert machine.memories == [0]
    found.close()
    assert machine.memories == []


def test_rtx_executes_only_on_its_own_gpus(machine: Machine) -> None:
    machine.has("tensorrt_rtx").with_gpu("l4")
    assert discover(Settings()).label == "TensorRT-RTX 1.2.3"
    machine.with_gpu("h100")
    found = discover(Settings())
    assert found.executor is not None and found.executor.emulated
    lacks = found.lacks("execute")
    assert lacks is not None and "SM90" in lacks.reason
    with pytest.raises(RuntimeMissingError, match=r"executes on SM75, SM89, and .* is SM90"):
        discover(Settings(runtime="tensorrt_rtx"))


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt_rtx"])
def test_an_explicit_runtime_that_is_missing_names_the_import_error(machine: Machine, runtime: str) -> None:
    with pytest.raises(RuntimeMissingError) as caught:
        discover(Settings(runtime=runtime))
    assert ABSENT in caught.value.what
    assert f"--trt-runtime={runtime}" in str(caught.value)


def test_an_explicit_rtx_without_a_gpu_builds_only(machine: Machine) -> None:
    machine.has("tensorrt_rtx")
    found = discover(Settings(runtime="tensorrt_rtx"))
    assert found.executor is None and found.label == "none"
    assert found.builder is not None
    assert found.lacks("gpu") is not None


def test_auto_goes_on_without_pycuda_and_an_explicit_runtime_does_not(machine: Machine) -> None:
    machine.has("tensorrt").with_gpu("t4")
    machine.pycuda = False
    found = discover(Settings())
    assert found.executor is not None and found.executor.emulated
    assert found.lacks("pycuda") == PYCUDA
    with pytest.raises(RuntimeMissingError, match="PyCUDA"):
        discover(Settings(runtime="tensorrt"))


@pytest.mark.parametrize("settings", [Settings(gpu="a100"), Settings(gpu="a100", runtime="tensorrt")])
def test_a_gpu_of_another_class_is_an_error_that_names_both(machine: Machine, settings: Settings) -> None:
    machine.has("tensorrt").with_gpu("t4")
    with pytest.raises(SettingsError) as caught:
        discover(settings)
    assert "a100" in caught.value.what and "t4" in caught.value.what


def test_a_gpu_of_another_class_is_an_error_under_the_emulator_on_cuda_too(machine: Machine) -> None:
    machine.with_gpu("t4", "l4")
    with pytest.raises(SettingsError, match=r"--gpu=t4 .* is of class l4"):
        discover(Settings(runtime="emulator", device="cuda:1", gpu="t4"))
    found = discover(Settings(runtime="emulator", device="cuda:1", gpu="sm89"))
    assert found.label == "emulator (tensorrt-10.13.3.9) on cuda:1"
    assert found.executor is not None and found.executor.gpu.name == "l4"


def test_the_emulator_on_the_cpu_plays_any_class(machine: Machine) -> None:
    machine.has("tensorrt").with_gpu("t4")
    found = discover(Settings(runtime="emulator", gpu="h100"))
    assert found.executor is not None and found.executor.gpu.name == "h100"
    assert discover(Settings(runtime="emulator")).executor.gpu.name == "t4"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("device", "kind"), [("cuda:4", RuntimeMissingError), ("cuda:x", SettingsError), ("tpu", SettingsError)]
)
def test_a_device_that_is_not_there(machine: Machine, device: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        discover(Settings(device=device))


def test_a_gpu_that_cannot_be_classified(machine: Machine) -> None:
    machine.has("tensorrt").gpus = (DetectedGpu(0, "Mystery", None, None, ""),)
    with pytest.raises(SettingsError, match="class of the GPU 'Mystery' is unknown"):
        discover(Settings())


def test_an_unknown_class_lists_the_good_ones(machine: Machine) -> None:
    with pytest.raises(SettingsError, match="t5"):
        discover(Settings(gpu="t5"))


def test_faults_go_to_the_emulator_and_to_nothing_else(machine: Machine) -> None:
    discover(Settings(faults=("json:loads",)))
    (fault,) = machine.played[0][3]["faults"]
    assert fault.__name__ == "loads"
    machine.has("tensorrt").with_gpu("t4")
    with pytest.raises(SettingsError, match="--trt-fault=json:loads needs the emulator") as caught:
        discover(Settings(faults=("json:loads",)))
    assert "--trt-runtime=emulator" in str(caught.value.mend)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("json", "the form is module:callable"),
        ("no_such_module_here:f", "ModuleNotFoundError"),
        ("json:nothing", "AttributeError"),
        ("json:__name__", "is not callable"),
    ],
)
def test_a_fault_that_cannot_be_loaded(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_fault(text)
    assert words in str(caught.value)


def test_a_fault_may_be_an_attribute_of_a_class() -> None:
    fault: Callable[..., Any] = load_fault("json:JSONDecoder.decode")
    assert fault.__qualname__ == "JSONDecoder.decode"


def test_the_same_is_had_on_another_gpu(machine: Machine) -> None:
    found = discover(Settings(gpu="l4"))
    assert found.executor is not None and found.executor.elsewhere is not None
    assert found.executor.elsewhere(1).device == "cpu" and len(machine.played) == 2
    machine.has("tensorrt").with_gpu("l4", "t4")
    rt = discover(Settings()).executor
    assert rt is not None and rt.elsewhere is not None
    other = rt.elsewhere(1)
    assert (other.device, other.gpu.name, other.trt, machine.memories) == ("cuda:1", "t4", rt.trt, [0, 1])
    rt = discover(Settings(runtime="emulator", device="cuda:1", seed=7)).executor
    assert rt is not None and rt.elsewhere is not None
    other = rt.elsewhere(0)
    assert (other.device, other.gpu.name, other.emulated) == ("cuda:0", "l4", True)
    assert machine.played[-1] == (
        "tensorrt",
        "10.13.3.9",
        "l4",
        {"device": "cuda:0", "faults": (), "seed": 7},
    )


def test_a_gpu_that_rtx_does_not_execute_on_is_no_device_of_it(machine: Machine) -> None:
    machine.has("tensorrt_rtx").with_gpu("l4", "v100")
    rt = discover(Settings(runtime="tensorrt_rtx")).executor
    assert rt is not None and rt.elsewhere is not None
    assert rt.elsewhere(1) is None
