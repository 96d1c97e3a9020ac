"""Relations that hold for every correct TensorRT, whatever it computes: batch sizes, profiles, nodes beside, equivalent graphs.

They need no reference. Public bugs: NVIDIA/TensorRT issues 1697 and 3855 (wrong from a batch of 8, and of 40, on), 4813, 2457,
3821 and 4035 (answers that depend on the profile), 2091 (nodes beside the network change it), 3447 (equivalent graphs differ).
On the emulator they show that the checks hold; a real GPU shows whether its TensorRT has such a bug.
"""

from __future__ import annotations

import pytest

from pytest_trt import strategies
from pytest_trt.cases.equivalents import EQUIVALENTS
from pytest_trt.check.equivalent import EXTENDED, check_equivalent, check_extended
from pytest_trt.check.sweeps import BATCH_SIZES, PROFILE_ENDS, check_batch_sizes, check_profiles
from pytest_trt.session import session_of

from ._relate import make_relate

# Exact data, where bits are compared, and real ones.
DATA = ("int_small", "uniform11")
BATCHES = (
    "conv2d-n3-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x3x4-w_int-s1",
    "matmul_add_clip-n4-c33-o17-k1-lo0-hi6-q1x2x8-w_int-s6",
)
NETWORKS = (
    "conv_add_relu-n2-c8-o1-i6x5-k3-lo0-hi1-w_int-s1",
    "concat_views-n2-c4-o8-i5x4-k3-lo0-hi1-q1x2x4-w_int-s2",
)


@pytest.fixture(scope="session")
def relate(trt_build, pytestconfig):
    """Factory: the verdict on the relations of one configuration."""
    return make_relate(pytestconfig)


@pytest.mark.faq(6)
@pytest.mark.parametrize("text", BATCHES)
def test_batch_sizes(relate, text):
    """Each row of batches of 2 to 65 is what it is alone: around tiles of 8, 16, 32 and 64, and around 40."""
    verdict = relate(strategies.Case.parse(text), lambda s, bases: check_batch_sizes(s, bases[0]), DATA)
    assert BATCH_SIZES in verdict.relations


@pytest.mark.faq(6)
@pytest.mark.parametrize("text", BATCHES)
def test_profiles(relate, text):
    """Engines for these shapes alone, with the optimum at either end, and for twice as much, give the same answer."""
    verdict = relate(strategies.Case.parse(text), lambda s, bases: check_profiles(s, bases[0]), DATA)
    assert PROFILE_ENDS in verdict.relations


@pytest.mark.parametrize("text", NETWORKS)
def test_nodes_beside(relate, text):
    """Two nodes with an input and an output of their own, and two that only read the input, change nothing."""
    verdict = relate(strategies.Case.parse(text), check_extended, DATA)
    if EXTENDED not in verdict.relations:
        pytest.skip("not applicable: a calibrator of implicit INT8 does not know the new input")


@pytest.mark.trt_precision("fp32", "tf32", "fp16", "bf16")
@pytest.mark.parametrize("name", EQUIVALENTS)
def test_equivalent_graphs(relate, trt_precision, name, request):
    """Two graphs for one network give the same bits on integers, and each is inside its limits elsewhere.

    Not under INT8, whose levels lie at other tensors in another graph.
    """
    pair = EQUIVALENTS[name]
    workbench = session_of(request.config).workbench

    def equal(subject, bases):
        with workbench.subject(pair.other(), trt_precision, pair.profile) as other:
            yield from check_equivalent(subject, bases, other)

    relate(pair, equal, DATA)
