"""Latency: the device time of one run at batch 1, in each precision, for a simple and a deep network (FAQ 10).

Claims: only enqueues lie between the events; the device is warm before; median and percentiles are told, and what speaks against
them (TensorRT documentation, "Performance Benchmarking": CUDA events, warm-up, locked clocks). A clock that contradicts itself
fails; times that cannot be relied on are a skip with the reasons. The numbers are in pytest-benchmark's table and files, with
`extra_info["trt"]` beside them.

On the emulator, TensorRT's API played over ONNX Runtime, the times on a CPU are computed from the work: a modelled device of the
emulator, not a GPU. Those of a GPU need one.
"""

from __future__ import annotations

import pytest

from ._bench_latency import PROFILE, check_latency, networks, start
from ._named import demand

NETWORKS = networks()


@pytest.mark.bench
@pytest.mark.faq(10)
@pytest.mark.benchmark(group="latency")
@pytest.mark.parametrize("network", NETWORKS)
def test_latency(network, trt_session, trt_timer, trt_profile, trt_precision, request):
    """One run at batch 1 takes what its layers take, on a clock that starts behind the copies and stops before them."""
    session = trt_session(NETWORKS[network], profile=PROFILE)
    start(session)
    found = trt_timer(session, batch=1, label=f"{network} network in {trt_precision}")
    profile = trt_profile(session, whole=found, label=f"{network} network in {trt_precision}")
    demand(check_latency(found, profile), request)
    if not found.reliable:
        pytest.skip(
            f"times cannot be relied on: {'; '.join(found.reasons)}; to get it: lock the clocks of an idle GPU"
        )
