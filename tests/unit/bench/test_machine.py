"""The id of a machine: what is in it, what is not, and what differs."""

from __future__ import annotations

import onnxruntime
import pytest

from pytest_trt import hardware
from pytest_trt.bench import machine
from pytest_trt.bench.machine import describe_machine, find_differences, name_cpu

GPU = hardware.DetectedGpu(0, "NVIDIA L4", 89, None, "580.95.05")


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(machine.hardware, "detect", lambda: (GPU,))
    monkeypatch.setattr(machine, "find_cuda", lambda: "13.0")


def test_a_real_runtime(one_gpu):
    info = describe_machine("TensorRT 11.4.0", "cuda:0", "l4", emulated=False, builder="TensorRT 11.4.0")
    assert info["id"] == "TensorRT 11.4.0, l4, NVIDIA L4, driver 580.95.05, CUDA 13.0"
    assert info["builder"] == "TensorRT 11.4.0" and info["device"] == "cuda:0"
    assert "cpu" not in info and "onnxruntime" not in info


def test_the_emulator_on_a_gpu_is_called_so(one_gpu):
    title = "emulator (tensorrt-10.13.3.9) on cuda:0"
    info = describe_machine(title, "cuda:0", "t4", emulated=True, cpu="A Processor")
    version = onnxruntime.__version__
    assert info["id"] == (
        "emulator (tensorrt-10.13.3.9) on cuda, as t4, NVIDIA L4, driver 580.95.05, CUDA 13.0, "
        f"onnxruntime {version}"
    )


def test_the_emulator_on_a_processor():
    info = describe_machine(
        "emulator (tensorrt-8.6.1)", "cpu", "t4", emulated=True, cpu="A Processor", faults=("m:f", "m:g")
    )
    version = onnxruntime.__version__
    assert info["id"] == (
        f"emulator (tensorrt-8.6.1), as t4, onnxruntime {version}, A Processor, fault m:f, m:g"
    )
    assert "gpu" not in info and "cuda" not in info


def test_the_ordinal_is_no_part_of_it(monkeypatch):
    monkeypatch.setattr(machine.hardware, "detect", lambda: (GPU, GPU))
    monkeypatch.setattr(machine, "find_cuda", lambda: "")
    title = "emulator (tensorrt-10.13.3.9) on cuda:{}"
    first, second = (
        describe_machine(title.format(number), f"cuda:{number}", "l4", emulated=True) for number in (0, 1)
    )
    assert first["id"] == second["id"] and first["device"] != second["device"]
    assert "CUDA" not in first["id"]


def test_a_gpu_that_is_not_seen_is_not_told(monkeypatch):
    monkeypatch.setattr(machine.hardware, "detect", lambda: ())
    monkeypatch.setattr(machine, "find_cuda", lambda: "")
    assert describe_machine("TensorRT 10.0", "cuda:3", "t4", emulated=False)["id"] == "TensorRT 10.0, t4"


def test_a_runtime_without_a_device_has_its_class_alone():
    assert (
        describe_machine("TensorRT-RTX 1.7.1", "cpu", "t4", emulated=False)["id"] == "TensorRT-RTX 1.7.1, t4"
    )


def test_differences_name_the_parts():
    now = {"id": "a", "runtime": "TensorRT 10.0", "driver": "580"}
    assert find_differences(now, {"id": "b", "runtime": "TensorRT 10.0"}) == ["driver: 580 now, none stored"]
    assert find_differences({"id": "a"}, {"id": "b", "cpu": "X"}) == ["cpu: none now, X stored"]
    assert find_differences({"id": "a"}, {"id": "b"}) == ["id: 'a' now, 'b' stored"]


def test_cuda_is_asked_of_the_driver(monkeypatch):
    class Library:
        status = 0

        def cuDriverGetVersion(self, reference):
            reference._obj.value = 12080
            return self.status

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Library())
    assert machine.find_cuda() == "12.8"
    monkeypatch.setattr(Library, "status", 3)
    assert machine.find_cuda() == ""

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(machine.ctypes, "CDLL", missing)
    assert machine.find_cuda() == ""


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"cpu": {"brand_raw": "Raw"}, "processor": "p"}, "Raw"),
        ({"cpu": {"brand": "Old"}}, "Old"),
        ({"cpu": {}, "processor": "p", "machine": "m"}, "p"),
        ({"machine": "m"}, "m"),
        ({}, ""),
    ],
)
def test_the_processor_is_named_as_pytest_benchmark_does(info, name):
    assert name_cpu(info) == name
