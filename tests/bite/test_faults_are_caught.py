"""The faults that the emulator ships make the suites' own configurations fail, and the honest variants do not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from pytest_trt import strategies
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from tests.bite.checking import checked

# A fault of each kind of site, a family of configurations and a precision where it shows; `test_pair_faults` has them all.
SHOWS = {
    "last_input_channel_dropped": ("conv", "fp32"),
    "pads_swapped": ("conv", "fp16"),
    "bias_omitted_on_channel_tail": ("conv", "int8"),
    "last_batch_row_stale": ("batch", "fp32"),
    "clip_upper_dropped": ("motif", "fp32"),
    "int8_scale_of_neighbour_channel": ("conv", "int8"),
    "output_truncated_not_rounded": ("conv", "fp16"),
}


def caught(name, family, precision, examples=20):
    """Return the checks that a fault trips in the first drawn configurations of a family."""
    made = Settings(runtime="emulator", gpu="t4", faults=(f"pytest_trt.emulator.faults:{name}",))
    bench, seen = Workbench(made, discover(made)), set()

    @seed(0)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @strategies.with_corners(family)
    @given(case=getattr(strategies, f"{family}_cases")())
    def check(case):
        if seen:
            return
        seen.update(checked(bench, case, precision))

    check()
    return seen


@pytest.mark.parametrize("name", sorted(SHOWS))
def test_a_shipped_fault_is_caught_within_the_quick_budget(name):
    family, precision = SHOWS[name]
    assert caught(name, family, precision) & {"interval", "certificate"}
