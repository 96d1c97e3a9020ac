"""Node cases of `onnx` whose numbers are known to come out otherwise, and why: sorted by name, each a row that has to match."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownCase:
    """One row.

    Attributes
    ----------
    name : str
        Of the case.
    product : str
        Who ends it so, as tables name it: `emulator`.
    outcome : str
        `wrong` or `crashed`.
    reason, link, seen : str
        Why, where that is told, and the versions and the date of the observation.
    """

    name: str
    product: str
    outcome: str
    reason: str
    link: str
    seen: str


# The emulated TensorRT, `onnx` and `onnxruntime` with which every row has to come true.
SEEN_WITH = ("tensorrt-10.13.3.9", "1.23.2", "1.32.0")
_SEEN = "onnx 1.23.2, onnxruntime 1.32.0, 2026-11-23"
_SCAN = "https://onnx.ai/onnx/operators/onnx__Scan.html"
_STEPS = (
    "a Scan whose body has no output shapes cannot be run step by step by ONNX Runtime; the emulator does so"
)
_RESIZE = "the case divides by scale * length, which is no whole number; ONNX Runtime divides by the output's length"
_CANCELS = "sums that cancel: the expected 0 is met within rounding of its terms, which 1e-7 does not cover"
# The frame length is a constant only where the API has no int64, as in TensorRT 8.6.
_ONESIDED = "with a constant frame length the emulator's shape inference counts both sides of a spectrum, the run gives one"
_SEEN_8 = f"emulated TensorRT 8.6.1, {_SEEN}"
_STFT = "https://onnx.ai/onnx/operators/onnx__STFT.html"

KNOWN = (
    KnownCase(
        "test_linear_attention_fp16_expanded",
        "emulator",
        "crashed",
        "a Scan in fp16 is carried in float32 by the emulator, and its body is not",
        _SCAN,
        _SEEN,
    ),
    KnownCase("test_linear_attention_gated_delta_gqa_expanded", "emulator", "crashed", _STEPS, _SCAN, _SEEN),
    KnownCase("test_linear_attention_gated_delta_mqa_expanded", "emulator", "crashed", _STEPS, _SCAN, _SEEN),
    KnownCase(
        "test_resize_downsample_scales_cubic_align_corners",
        "emulator",
        "wrong",
        _RESIZE,
        "https://github.com/onnx/onnx/issues/2462",
        _SEEN,
    ),
    KnownCase(
        "test_resize_downsample_scales_linear_align_corners",
        "emulator",
        "wrong",
        _RESIZE,
        "https://github.com/onnx/onnx/issues/2462",
        _SEEN,
    ),
    KnownCase("test_stft", "emulator", "crashed", _ONESIDED, _STFT, _SEEN_8),
    KnownCase("test_stft", "emulator", "wrong", _CANCELS, _STFT, _SEEN),
    KnownCase("test_stft_with_window", "emulator", "crashed", _ONESIDED, _STFT, _SEEN_8),
    KnownCase("test_stft_with_window", "emulator", "wrong", _CANCELS, _STFT, _SEEN),
)


def find_known(name: str, product: str, outcome: str) -> KnownCase | None:
    """Return the row of a case that ends so on a product, None where there is none."""
    wanted = (name, product, outcome)
    return next((row for row in KNOWN if (row.name, row.product, row.outcome) == wanted), None)
