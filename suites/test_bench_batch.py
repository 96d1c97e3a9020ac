"""Batch scaling: time per frame falls with the batch until the GPU is full, and is flat from there on (FAQ 6).

Claim 6 of the TensorRT FAQ: "inference time per frame can be improved with the bigger batch size only if GPU loading is not
full"; little is gained for a deep network that fills the GPU, and more for a simple one. So up to the batch that fills it, the
knee, no multiple of a batch is slower per frame, and behind it neither; no batch takes less time than its work can take at the
peak rates of the device. Every batch's answers are checked: each row has to be that of the frame alone.

On a GPU these are times of CUDA events. On the emulator, TensorRT's API played over ONNX Runtime, on a CPU they are those of its
modelled device, which stands for no GPU: there the curve follows from the work alone. On the emulator on CUDA they are times of
ONNX Runtime's kernels in float32, not of TensorRT's.

    pytest suites/test_bench_batch.py --trt-precision=fp32,fp16,int8 --trt-budget=thorough
"""

from __future__ import annotations

import pytest

from pytest_trt.bench.batch import UNRELIABLE
from pytest_trt.session import session_of
from pytest_trt.studies import attach

from ._bench_batch import NETS, Limits, is_modelled, limit_of, network, opened, rounds_of, study
from ._named import demand

pytestmark = [pytest.mark.bench, pytest.mark.faq(6)]

KEPT = (1, 8, 64)  # the same at every budget: a stored series is of one batch


@pytest.fixture(scope="session")
def known() -> Limits:
    """Limits of the frames, worked out once for a network and a precision."""
    return {}


@pytest.mark.parametrize("name", NETS)
def test_time_per_frame(trt_runtime, trt_settings, trt_precision, known, name, request):
    """Batches 1, 2, 4 and so on of one engine: the statement of the FAQ, the roofline, and answers that do not change."""
    session = session_of(request.config)
    limit = limit_of(trt_runtime, trt_settings)
    curve, answers = study(session.workbench, network(name, trt_runtime), trt_precision, limit, known)
    attach(session, curve.section(f"Time per frame over the batch: {name} network, {trt_precision}"))
    judged = curve.judge()
    demand([*answers, *judged.rows], request)
    if judged.verdict == UNRELIABLE:
        pytest.skip(
            f"times cannot be relied on: {'; '.join(judged.reasons)}; to get it: lock the clocks of an idle GPU"
        )


@pytest.mark.parametrize("batch", KEPT)
@pytest.mark.parametrize("name", NETS)
def test_time_of_a_batch(trt_runtime, trt_precision, trt_timer, known, name, batch, request):
    """One batch of an engine for batches up to it, for the history of times: a number with its reasons, and no limit."""
    bench = session_of(request.config).workbench
    with opened(bench, network(name, trt_runtime), trt_precision, batch, known) as one:
        wrong = one.look(batch, one.session.run(one.net.frames(batch)))
        timed = trt_timer(
            one.session,
            batch=batch,
            rounds=rounds_of(trt_runtime),
            label=f"{name} network, batch {batch}, {trt_precision}",
        )
    demand(one.checked(wrong), request)
    assert timed.reliable or not is_modelled(trt_runtime), timed.reasons
