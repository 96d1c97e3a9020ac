"""N threads, N contexts of one engine, N streams: every output of every run is the answer to that run's own inputs.

Claim 2 of the TensorRT FAQ: an engine may serve many contexts at once, each in one thread at a time and on a stream of its own
(TensorRT documentation, "Thread Safety"). No two rows that any thread is to get are equal, so an answer that went astray is
seen, and it is said whose it was. Public bugs: NVIDIA/TensorRT issues 1121, 2040 and 2353 (outputs of contexts mixed up), 2648
(contexts that take turns), 582 (contexts made and destroyed), 1367 (Python threads), microsoft/onnxruntime issue 19275
(concurrent runs).

The emulator does the work of a stream when it is waited for, in the thread that waits: threads compute at once, as ONNX Runtime
lets them. Only on a real GPU do kernels of several streams overlap.
"""

from __future__ import annotations

from functools import partial

import pytest

from pytest_trt import strategies
from pytest_trt.check.crosstalk import THREADS, answer_alone, check_threads
from pytest_trt.check.shared import check_shared
from pytest_trt.fixtures import running_precision
from pytest_trt.runtime.devices import executors
from pytest_trt.session import session_of
from pytest_trt.studies import attach

from . import _threads
from ._named import demand
from ._relate import make_relate

pytestmark = pytest.mark.faq(2)

# Two inputs for each thread: exact data, where bits are compared, and real numbers.
DATA = ("int_small",) * THREADS + ("uniform11",) * THREADS
FIXED = "conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1"
DYNAMIC = "conv2d-n3-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x3x4-w_int-s2"


@pytest.fixture(scope="session")
def relate(trt_build, pytestconfig):
    """Factory: the verdict on the relations of one configuration."""
    return make_relate(pytestconfig)


@pytest.fixture(scope="session")
def opened(trt_build, pytestconfig):
    """Factory: `opened(case)` is one configuration at the running precision, ready to be built."""
    session = session_of(pytestconfig)

    def opened(case, **build):
        precision = running_precision(session, None, "opened")
        return session.workbench.subject(case.model(), precision, case.profile, **build)

    return opened


@pytest.fixture
def tell(pytestconfig):
    """Attach what threads got to the report of the test."""
    session = session_of(pytestconfig)

    def tell(hammered, title=f"{THREADS} threads, contexts and streams"):
        attach(session, _threads.section(title, hammered))

    return tell


def test_threads_contexts_and_streams(relate, trt_settings, tell):
    """8 threads, 8 contexts, 8 streams, 16 inputs; contexts with runs in flight, handed on, made and destroyed all at once.

    6,905 runs in threads, all precisions together, see a cross-talk of 1 run in 1,000 but for 1 time in 1,000. A thorough budget
    takes 69,075 at each.
    """
    asked = partial(check_threads, runs=_threads.runs_for(trt_settings), tell=tell)
    verdict = relate(strategies.Case.parse(FIXED), asked, DATA)
    assert verdict.compared > 0 and len(verdict.relations) == 4


def test_threads_whose_shapes_change(opened, request, trt_settings, tell):
    """Dynamic shapes: every thread changes the batch of its context from run to run, each on a profile of its own (8.6)."""
    case = strategies.Case.parse(DYNAMIC)
    with opened(case, more_profiles=(case.profile,) * THREADS) as subject:
        runs = _threads.runs_for(trt_settings) // 8
        demand(_threads.check_shapes(subject, case, THREADS, runs, trt_settings.seed, tell), request)


def test_a_context_is_one_threads(trt_session, request, trt_settings):
    """While one thread runs a context, a second one is refused, both are named, and the first gets its answer."""
    case = strategies.Case.parse(FIXED)
    (feeds,) = _threads.small_integers([case.input_shapes], trt_settings.seed)
    with trt_session(case.model()) as session:
        (base,) = answer_alone(session.rt, session.engine, [feeds])
        demand(check_shared(session, base), request)


def test_one_process_with_many_devices(opened, request, trt_runtime, trt_settings, tell):
    """Every device that is visible, two threads on each, all at once: each answer is that of the first device alone.

    On the emulator on a CPU there are two emulated devices. One real GPU alone is not applicable.
    """
    case = strategies.Case.parse(FIXED)
    runtimes = executors(trt_runtime)
    if len(runtimes) < 2:
        pytest.skip(f"not applicable: {trt_runtime.title} has one GPU here, and this takes two")
    feeds = _threads.small_integers([case.input_shapes] * 4 * len(runtimes), trt_settings.seed)
    with opened(case) as subject:
        runs = _threads.runs_for(trt_settings) // 8
        title = f"{len(runtimes)} devices, two threads each"
        demand(_threads.check_devices(runtimes, subject, feeds, runs, partial(tell, title=title)), request)
