"""Throughput and tail latency of 1, 2, 4 and 8 threads, each with a context and a stream of its own, on one engine.

Claim 2 of the TensorRT FAQ: several contexts run at once, each in a thread and on a stream of its own (TensorRT documentation,
"Thread Safety" and "Performance Best Practices", streaming). How much that brings depends on what one run leaves free, so the
efficiency is told and never judged. What is demanded: every run is counted once and none that was refused, every thread takes
part, the time is that of all of them, and after each block every thread holds the answer to its own last inputs.

Times are the host's, from the first start to the last end. On the emulator, TensorRT's API played over ONNX Runtime, on a CPU
they are those of its work, which waits for Python in turns: not those of a GPU.
"""

from __future__ import annotations

import pytest

from pytest_trt.bench.threads import check_throughput
from pytest_trt.session import session_of
from pytest_trt.studies import attach
from pytest_trt.timing import has_table

from ._bench_threads import COUNTS, REPLAY, enter, measure_counts, section
from ._named import demand

pytestmark = [pytest.mark.bench, pytest.mark.faq(2)]


@pytest.fixture(scope="session")
def measured(pytestconfig):
    """Factory: `measured(precision)` is the throughput at each number of threads, measured once."""
    session = session_of(pytestconfig)
    known = {}

    def measured(precision):
        if precision not in known:
            settings = session.settings
            known[precision] = measure_counts(session.workbench, precision, settings.budget, settings.seed)
        return known[precision]

    return measured


@pytest.fixture
def benchmark(request):
    """pytest-benchmark's fixture, with a timer that plays measured blocks back; None where it is not at work."""
    if not has_table(request.config):
        return None
    request.node.add_marker(pytest.mark.benchmark(group="threads", timer=REPLAY))
    return request.getfixturevalue("benchmark")


@pytest.mark.parametrize("count", COUNTS)
def test_throughput_of_threads(count, trt_runtime, trt_precision, measured, benchmark, request):
    """So many threads, each in a closed loop: seconds of one run, all threads together, and their answers."""
    found = measured(trt_precision)[count]
    enter(benchmark, found, found.to_plain(trt_runtime, trt_precision))
    demand(check_throughput(found.throughput), request)


def test_scaling_with_threads(trt_runtime, trt_precision, measured, request):
    """The efficiency of more threads against one, in a table and a plot; their answers are right at each number."""
    found = measured(trt_precision)
    attach(session_of(request.config), section(found, trt_precision))
    demand([row for one in found.values() for row in check_throughput(one.throughput)], request)
