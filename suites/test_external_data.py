"""Models with external weights, as those above 2 GB have to be: TensorRT finds the weights, or says which are not there.

Claims: a protobuf message ends at 2 GiB, and ONNX external data lifts that: `parse_from_file(path)` or `parse(bytes, path)`,
while `parse(bytes)` alone cannot find the files (ONNX, "External Data"; onnx-tensorrt, `IParser::parse`); plans may be written
by stream (`IStreamWriter`, from TensorRT 10.13). The paths are checked with a small model: on the emulator, and on the real
TensorRT that builds, where the plans are compared byte for byte. The model above 2 GiB is built by the real one alone, with
`--trt-budget=thorough` and enough memory.
"""

from __future__ import annotations

import pytest

from pytest_trt.check.oversize import lacks_room
from pytest_trt.runtime.contained import DONE, run_contained
from pytest_trt.runtime.streaming import can_stream

from ._external_data import check_external, check_stream
from ._named import demand


@pytest.mark.faq(18)
def test_external_weights(trt_runtime, tmp_path, request):
    """Parsed by path, refused without; missing, short and outside ones are named. Runs on the emulator, or on a GPU."""
    demand(check_external(trt_runtime, tmp_path), request)


@pytest.mark.faq(18)
def test_external_weights_of_the_builder(trt_runtime, targeted, tmp_path, request):
    """The same on the real TensorRT that builds: the plan is the embedded model's, byte for byte."""
    demand(check_external(targeted, tmp_path), request)


@pytest.mark.faq(18)
def test_plan_by_stream(trt_runtime, request):
    """A plan written by stream is the plan in memory. Runs on the emulator, or on a GPU."""
    _stream(trt_runtime, request)


@pytest.mark.faq(18)
def test_plan_by_stream_of_the_builder(trt_runtime, targeted, request):
    """The same on the real TensorRT that builds."""
    _stream(targeted, request)


def _stream(rt, request):
    if not can_stream(rt):
        pytest.skip(f"not applicable: {rt.title} has no IStreamWriter")
    demand(check_stream(rt), request)


@pytest.mark.faq(18)
def test_model_above_2_gib(trt_runtime, targeted, trt_settings, tmp_path, request):
    """2.25 GiB of external FP16 weights: one piece is refused, the file is built and streamed. Real TensorRT, no GPU needed."""
    lack = lacks_room(trt_settings.budget, tmp_path)
    if lack:
        pytest.skip(lack)
    (ended,) = run_contained(
        "pytest_trt.check.oversize:checker",
        {"large": str(tmp_path)},
        arguments={"gpu": targeted.gpu.name},
        timeout=1800,
    )
    assert ended.how == DONE, f"{ended.how}: {ended.words} {ended.printed}"
    demand([(check, wrong) for check, wrong in ended.value], request)
