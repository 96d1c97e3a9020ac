"""Figures of classes: products of one class, peaks, versions, words."""

from __future__ import annotations

import pickle

import pytest

from pytest_trt import hardware
from pytest_trt.errors import SettingsError
from pytest_trt.hardware.classes import parse

SM = '[sm.75]\nfamily = "T"\nprecisions = ["fp32"]\n'
CLASS = '[class.one]\ntitle = "One"\nsm = 75\ndevices = ["One"]\n'


@pytest.mark.parametrize(
    ("device", "sm", "multiprocessors", "bandwidth"),
    [
        ("NVIDIA H200", 90, 132, 4800),
        ("NVIDIA H200 NVL", 90, None, 4800),
        ("NVIDIA GH200 480GB", 90, 132, 4000),
        ("NVIDIA H100 80GB HBM3", 90, 132, 3350),
        ("NVIDIA H100 PCIe", 90, 114, 2039),
        ("NVIDIA A100-SXM4-40GB", 80, 108, 1555),
        ("NVIDIA A100 80GB PCIe", 80, 108, 1935),
        ("NVIDIA A100-SXM4-80GB", 80, 108, 2039),
        ("NVIDIA GeForce RTX 3090", 86, 82, 936),
        ("NVIDIA GeForce RTX 3090 Ti", 86, 84, 1008),
        ("NVIDIA GeForce RTX 3080", 86, None, None),  # 10 or 12 GB: two products
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 89, None, None),
        ("NVIDIA A10G", 86, 80, 600),
        ("Tesla T4", 75, 40, 320),
        ("NVIDIA L4", 89, 58, 300),
    ],
)
def test_a_device_gets_the_figures_of_its_product(
    device: str, sm: int, multiprocessors: int | None, bandwidth: float | None
) -> None:
    kind = hardware.classify(device, sm)
    assert kind is not None and kind == hardware.get(kind.name)
    assert (kind.multiprocessors, kind.bandwidth_gb_s) == (multiprocessors, bandwidth)


def test_a_mig_slice_has_no_figures() -> None:
    kind = hardware.classify("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 80)
    assert kind is not None and kind.multiprocessors is None and kind.peak("fp16") is None
    assert "MIG" in kind.figures.missing and kind.describe() == ""


def test_peaks_are_in_operations_a_second() -> None:
    t4 = hardware.get("t4")
    assert (t4.peak("fp32"), t4.peak("fp16"), t4.peak("int8")) == (8.1e12, 65e12, 130e12)
    assert t4.peak("bf16") is None and hardware.get("sm75").peak("fp32") is None
    assert t4.memory_gb == 16 and "40 SMs, 16 GB, 320 GB/s" in t4.describe()


def test_what_is_open_has_a_reason() -> None:
    v100 = hardware.classify("Tesla V100-SXM2-16GB", 70)
    assert v100 is not None and v100.peak("int8") is None and "DP4A" in v100.figures.missing
    assert "differ" in hardware.get("h200").figures.missing
    h200 = hardware.classify("NVIDIA H200", 90)
    assert h200 is not None and h200.figures.missing == ""


@pytest.mark.parametrize(
    ("name", "product", "version", "supported"),
    [
        ("t4", "tensorrt", "8.6.1", True),
        ("t4", "tensorrt", "11.4.0.106", True),
        ("t4", "tensorrt", "8.5.3", None),
        ("t4", "tensorrt", "12.0", None),
        ("p4", "tensorrt", "8.6.1", True),
        ("p4", "tensorrt", "10.0.1", False),
        ("v100", "tensorrt", "10.4.0", True),
        ("v100", "tensorrt", "10.5.0", False),
        ("b200", "tensorrt", "10.7.0", False),
        ("rtx5090", "tensorrt", "10.8", True),
        ("gb10", "tensorrt_rtx", "1.4.0.76", False),
        ("gb10", "tensorrt_rtx", "1.7.1", True),
        ("h100", "tensorrt_rtx", "1.7.1", False),
        ("sm62", "tensorrt", "8.6.1", None),
        ("t4", "another", "1.0", None),
        ("t4", "tensorrt", "", None),
    ],
)
def test_versions_that_support_a_class(name: str, product: str, version: str, supported: bool | None) -> None:
    assert hardware.get(name).supports(product, version) is supported


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SM + 'tensorrt = ["8.6", "9", "10.4"]', "no first and last version"),
        (SM + 'tensorrt = ["8"]', "no first and last version"),
        (SM + CLASS + "tera = { int8 = 1 }", r"\[class.one\] has rates for \['int8'\]"),
        (SM + CLASS + '[class.one.variants."A"]\ntera = { tf32 = 1 }', r"variants.A\] has rates"),
        (SM + CLASS + 'pci = ["0x1eb8"]', "has PCI ids"),
        (SM + CLASS + 'pci = ["1eb8"]\n' + CLASS.replace("one", "two") + 'pci = ["1eb8"]', "is taken"),
    ],
)
def test_faulty_figures_are_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(text)


def test_every_variant_is_a_device_of_its_class() -> None:
    count = 0
    for name in hardware.names():
        kind = hardware.get(name)
        for key in kind.variants:
            found = hardware.classify(key.rstrip("*"), kind.sm)
            assert found is not None and found.name == name, key
            assert found.figures != kind.figures, key
            count += 1
    assert count > 50


def test_classes_travel_between_processes() -> None:
    for name in hardware.names():
        kind = hardware.get(name)
        again = pickle.loads(pickle.dumps(kind))
        assert again == kind and again.figures == kind.figures and hash(again) == hash(kind)
