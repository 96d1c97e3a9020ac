"""The markers: their lines for `--markers`; what they say is read in `marks`, which unmarked tests never load."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

LINES: tuple[str, ...] = (
    "trt_precision(*names): run the test only at these precisions, of those that --trt-precision asks for",
    "gpu(*classes, min_sm=None, max_sm=None): the test applies to these GPU classes or compute capabilities "
    "(75: SM 7.5)",
    "trt_model(source, profile={name: (min, opt, max)}): the ONNX model (path, bytes, ModelProto or a "
    "callable that returns one: source=make_model) of the fixtures engine and context; relative: beside the test file",
    "trt_tolerance(atol=None, rtol=None, why=): judge by this allowance instead of the derived interval; why "
    "is required and printed",
    "trt_data(*kinds): batteries or kinds of data of this test's checks, instead of --trt-data",
    "trt_log(allow=[...], fail=None): regular expressions of TensorRT log lines that are expected; which unexpected ones "
    "fail the test: 'WARNING', 'ERROR', None",
    "faq(number): the claim of the TensorRT FAQ that the test checks",
    "bug(id): the public bug that the test checks",
)
NAMES = frozenset(line.partition("(")[0] for line in LINES)


def has_any(item: pytest.Item) -> bool:
    """Return whether a test carries a marker of ours."""
    return any(mark.name in NAMES for mark in item.iter_markers())
