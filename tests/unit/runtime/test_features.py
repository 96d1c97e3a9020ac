"""Answers of the probes for each TensorRT that the emulator plays: names, never version numbers."""

from __future__ import annotations

import pytest

from pytest_trt import emulator
from pytest_trt.runtime.features import Features

KNOWN = emulator.known()
ROWS = {
    # version: weak, strong, explicit batch, calibrators, ranges, progress monitor, runtime config, rtx
    "tensorrt-8.6.1": (True, False, True, True, True, False, False, False),
    "tensorrt-10.0.1": (True, True, True, True, True, True, False, False),
    "tensorrt-10.9.0.34": (True, True, True, True, True, True, False, False),
    "tensorrt-10.13.3.9": (True, True, True, True, True, True, True, False),
    "tensorrt-10.16.1.11": (True, True, True, True, True, True, True, False),
    "tensorrt-11.0.0.114": (False, True, False, False, False, True, True, False),
    "tensorrt-11.4.0.106": (False, True, False, False, False, True, True, False),
    "tensorrt_rtx-1.4.0.76": (False, True, True, False, False, True, True, True),
    "tensorrt_rtx-1.7.1.116": (False, True, False, False, False, True, True, True),
}


def features(text: str) -> Features:
    product, version = emulator.resolve(text)
    return Features.of(emulator.load(product, version, "t4"))


@pytest.mark.parametrize(("text", "want"), ROWS.items(), ids=list(ROWS))
def test_what_each_version_offers(text: str, want: tuple[bool, ...]) -> None:
    got = features(text)
    assert (
        got.weak_typing,
        got.strong_typing,
        got.needs_explicit_batch,
        got.calibrators,
        got.dynamic_ranges,
        got.progress_monitor,
        got.runtime_config,
        got.rtx,
    ) == want


@pytest.mark.parametrize(
    ("text", "weak", "strong"),
    [
        ("tensorrt-8.6.1", 0b01, 0b01),
        ("tensorrt-10.13", 0b01, 0b11),
        ("tensorrt-11.4", 0b00, 0b01),
        ("tensorrt_rtx-1.4", 0b01, 0b11),
        ("tensorrt_rtx-1.7", 0b00, 0b01),
    ],
)
def test_the_network_mask_is_made_from_names(text: str, weak: int, strong: int) -> None:
    got = features(text)
    assert (got.network_flags(False), got.network_flags(True)) == (weak, strong)


def test_dead_names_of_rtx_1_4_are_not_trusted() -> None:
    got = features("tensorrt_rtx-1.4")
    assert "FP16" in got.builder_flags
    assert not got.weak_typing and not got.layer_precision


def test_compute_capabilities_are_names() -> None:
    assert "SM75" in features("tensorrt_rtx-1.7").compute_capabilities
    assert "SM90" not in features("tensorrt_rtx-1.7").compute_capabilities
    assert features("tensorrt-11.4").compute_capabilities == ()


@pytest.mark.parametrize(("product", "version"), KNOWN)
def test_every_known_version_can_be_asked(product: str, version: str) -> None:
    assert Features.of(emulator.load(product, version, "t4")).strong_typing == (version != "8.6.1")
