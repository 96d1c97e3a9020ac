"""The tensors between layers: marked as outputs, as debug tensors, or shown as they are; none of it may change the answer.

Claims (TensorRT FAQ, "How to dump the output of certain layer?"; `INetworkDefinition.mark_output`, `mark_debug`,
`mark_unfused_tensors_as_debug_tensors` and `IDebugListener` in TensorRT's API documentation): a marked tensor is one output
more; a listener is called once a run for each tensor that is on, and never for one that is off; what is shown and the final
output stay inside of their limits. Public bugs of engines that are right only while a tensor is marked: NVIDIA/TensorRT issues
305, 2091, 3390, 3645 and 4400. Execution is on the emulator, which is TensorRT's API played over ONNX Runtime, or on a GPU;
marks are set on the networks of a real TensorRT that builds as well.
"""

from __future__ import annotations

import pytest

from pytest_trt.check import named
from pytest_trt.check.dump import dump_layers
from pytest_trt.fixtures import replay_of
from pytest_trt.session import session_of

from ._dump import (
    Study,
    check_debug,
    check_marked,
    check_network,
    check_raising,
    check_unfused,
    images,
    network,
    raw_network,
)
from ._named import demand
from ._refused import known_refusals

pytestmark = pytest.mark.faq(9)


@pytest.fixture
def study(trt_runtime, trt_precision, request):
    """The network at the precision of the test."""
    with known_refusals(trt_runtime, network(), trt_precision):
        made = Study(session_of(request.config).workbench, trt_precision)
    with made:
        yield made


@pytest.fixture
def debug_study(study, trt_runtime):
    """The same where debug tensors are offered."""
    if not trt_runtime.features.debug_tensors:
        pytest.skip(f"not applicable: {trt_runtime.title} has no debug tensors (TensorRT 10 on)")
    if study.subject.prepared.implicit:
        pytest.skip("not applicable: an engine with a calibrator is looked into by marked outputs")
    return study


def test_a_marked_tensor_is_one_output_more(study, request):
    """`mark_output` gives the tensor, and the final output is right with it and without (emulator, and any GPU)."""
    demand(check_marked(study), request)


def test_debug_tensors_are_shown_while_they_are_on(debug_study, request):
    """`mark_debug`: once a run for each that is on, never while it is off, and right (emulator, and any GPU)."""
    demand(check_debug(debug_study), request)


def test_unfused_tensors_are_shown_as_they_are(study, trt_runtime, request):
    """`mark_unfused_tensors_as_debug_tensors`: what is shown is right, and the output is (emulator, and any GPU).

    That a real engine fuses as ever with them, only a real GPU can show.
    """
    if not trt_runtime.features.unfused_debug_tensors:
        pytest.skip(f"not applicable: {trt_runtime.title} has no unfused debug tensors (TensorRT 10.12 on)")
    demand(check_unfused(study), request)


@pytest.mark.trt_precision("fp32")
def test_a_listener_that_raises_ends_nothing(debug_study, request):
    """The bindings print and drop what a callback raises; ours keeps it and raises behind the run (emulator, and any GPU)."""
    demand(check_raising(debug_study), request)


def test_every_layer_of_a_network_is_right(trt_runtime, trt_precision, request):
    """A dump of all layers, each judged on the engine's own tensors before it, and none of them wrong (emulator, and any GPU)."""
    workbench = session_of(request.config).workbench
    with known_refusals(trt_runtime, network(), trt_precision):
        dump = dump_layers(workbench, network(), images(), precision=trt_precision)
    assert dump.passed and len(dump.rows) >= len(network().graph.node), str(dump)


@pytest.mark.trt_precision("fp32")
def test_marks_on_the_network_of_the_one_that_executes(trt_runtime, request):
    """Marks are taken and taken back, and the network builds with them."""
    with raw_network(trt_runtime) as (made, build):
        demand(check_network(trt_runtime, made, build, repeats=trt_runtime.emulated), request)


def test_marks_on_the_network_of_a_real_builder(targeted, trt_settings, request):
    """The same on a real TensorRT that builds (TensorRT-RTX needs no GPU); nothing is executed."""
    with raw_network(targeted) as (made, build):
        rows = check_network(targeted, made, build, repeats=targeted.features.rtx)
        named.demand(rows, targeted, trt_settings, precision="fp32", replay=replay_of(request.node, ""))
