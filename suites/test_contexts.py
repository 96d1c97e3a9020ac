"""Several contexts of one engine: each gives what it gives alone, whoever runs before it, beside it or in another thread.

Claim 2 of the TensorRT FAQ: an engine may serve many contexts at once, each in one thread at a time and on a stream of its own
(TensorRT documentation, "Thread Safety"; so may builders, one in each thread); `execute_v2` and `execute_async_v3` compute the
same; an enqueue that lacks an address answers False and says why. Public bugs: NVIDIA/TensorRT issues 2648 (the third run of
contexts that take turns), 1121, 2040, 2353 and 1367 (mixed outputs), 582 (contexts made and destroyed), pytorch/TensorRT issues
2991 and 4481 (zeros and stale outputs), microsoft/onnxruntime issues 19275 and 32673 (concurrent runs, copies that nobody
waited for).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_trt import strategies
from pytest_trt.check.concurrent import check_contexts, describe_refusal
from pytest_trt.check.sequences import check_sequences

from ._compatible import build_plain
from ._relate import make_relate

pytestmark = pytest.mark.faq(2)

# One run for each context, no two on the same numbers: exact data, where bits are compared, and real ones.
DATA = ("int_small", "uniform11", "int_small", "uniform11")
FIXED = "conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1"
DYNAMIC = "conv2d-n3-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x3x4-w_real-s2"


@pytest.fixture(scope="session")
def relate(trt_build, pytestconfig):
    """Factory: the verdict on the relations of one configuration."""
    return make_relate(pytestconfig)


def test_contexts_of_one_engine(relate):
    """Four contexts, four streams, four threads: 52 runs in threads, which see a cross-talk of 1 in 8 but for 1 in 1,000."""
    verdict = relate(strategies.Case.parse(FIXED), check_contexts, DATA)
    assert verdict.compared > 0 and len(verdict.relations) == 5


def test_contexts_with_profiles_of_their_own(relate):
    """The same with dynamic shapes, each context on an optimization profile of its own (issue 2648)."""
    case = strategies.Case.parse(DYNAMIC)
    relate(case, check_contexts, DATA, more_profiles=(case.profile,) * len(DATA))


def test_runs_that_follow_each_other(relate):
    """One context on several streams and from thread to thread; runs enqueued before any is waited for; 52 changes of inputs.

    Nothing more is asked than TensorRT allows: a run is waited for before the context goes to another stream or thread. On the
    emulator, streams do their work when they are waited for; only a real GPU has runs that overlap.
    """
    verdict = relate(strategies.Case.parse(FIXED), check_sequences, DATA)
    assert len(verdict.relations) == 5


def test_an_enqueue_without_an_address_is_refused(trt_session):
    """False and a logged error, for each input and output that has no address."""
    case = strategies.Case.parse(FIXED)
    with trt_session(case.model()) as session:
        assert describe_refusal(session, case.input_shapes) == ""


def test_builders_in_threads(targeted):
    """Eight builders of a real TensorRT, each in a thread of its own, give plans that are equal to the byte."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        plans = set(pool.map(lambda _: build_plain(targeted), range(8)))
    assert len(plans) == 1
