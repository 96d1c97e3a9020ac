"""`execute_v2` and `execute_async_v3`: the same numbers, one waits and the other does not, and both refuse what is missing.

Claims (TensorRT FAQ, "What is the difference between enqueue() and execute()?", by today's names; `IExecutionContext` in
TensorRT's API documentation): `execute_v2` is synchronous, `execute_async_v3` returns before the work is done; `debug_sync` is
for the synchronous one; an address that is missing is refused with False and a logged error. Everything here runs on the
emulator, which is TensorRT's API played over ONNX Runtime, and on a real TensorRT where there is a GPU.
"""

from __future__ import annotations

import pytest

from pytest_trt import strategies
from pytest_trt.check.modes import check_debug_sync, check_early, check_input_event, check_modes

from ._execute import addresses, chain_for
from ._named import demand
from ._refused import known_refusals
from ._relate import make_relate

CASE = "conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1"
once = pytest.mark.trt_precision("fp32")

pytestmark = pytest.mark.faq(8)


@pytest.fixture
def session(trt_session, trt_runtime):
    """An engine of a chain of products, and its context."""
    model, _ = chain_for(trt_runtime)
    with known_refusals(trt_runtime, model, "fp32"):
        made = trt_session(model, precision="fp32")
    with made:
        yield made


@pytest.fixture
def feeds(trt_runtime):
    """Small integers for it."""
    return chain_for(trt_runtime)[1]


@pytest.fixture
def plays_streams(trt_runtime, trt_settings):
    """Streams and events as CUDA has them; the emulator on a GPU computes on the host where a fault has to see each node."""
    if trt_runtime.emulated and trt_runtime.device != "cpu" and trt_settings.faults:
        pytest.skip(f"not applicable: {trt_runtime.title} waits where faults are injected")


def test_both_ways_give_the_same(trt_build, pytestconfig):
    """Exact data: the same bits; real data: inside the limits of the run; in turns on one context (emulator, and any GPU)."""
    relate = make_relate(pytestconfig)
    verdict = relate(strategies.Case.parse(CASE), check_modes, ("int_small", "uniform11"))
    assert verdict.compared > 0 and len(verdict.relations) == 3


@once
def test_the_asynchronous_one_returns_early(session, feeds, plays_streams, request):
    """The enqueue comes back before the work is done, which is done when the stream has been waited for.

    The emulator shows it with work that is enqueued before the run; a GPU by a stream that is still busy behind the enqueue.
    That the GPU computes meanwhile, only a real GPU can show.
    """
    demand(check_early(session, feeds), request)


@once
def test_debug_sync_is_for_the_synchronous_one(session, feeds, request):
    """With `debug_sync`, `execute_v2` logs each layer and `execute_async_v3` what it logged without (emulator, and any GPU)."""
    demand(check_debug_sync(session, feeds), request)


@once
def test_a_missing_address_is_refused(session, trt_runtime, trt_settings, request):
    """False and a logged error, for each input and output; a real TensorRT is asked in a process of its own."""
    demand(addresses(trt_runtime, trt_settings, session), request)


@once
def test_the_event_of_consumed_inputs_fires(session, feeds, plays_streams, request):
    """`set_input_consumed_event` is taken; the event fires when the inputs have been read, and not before.

    The emulator shows both; on a GPU nothing holds the run back, and only the firing is seen.
    """
    demand(check_input_event(session, feeds), request)
