"""A replayed run has the bits of a real emulated one, with and without a fault."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.bite.data import draw
from pytest_trt.bite.problems import Problem
from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults import FAULTS, HONEST
from pytest_trt.emulator.replay import Replay
from pytest_trt.errors import ExecutionError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.session import Session

CONV = Problem("fp16", (7,), (3, 4, 6, 6), (9, 4, 3, 3), pads=(1, 0, 1, 2), residual=True, relu=True)
NAMES = [
    "last_input_channel_dropped",
    "pads_swapped",
    "bias_omitted_on_channel_tail",
    "last_batch_row_stale",
    "output_truncated_not_rounded",
    "int8_scale_of_neighbour_channel",
    "summation_order_reversed",
]


def problem(contract):
    return Problem(**{**vars(CONV), "contract": contract, "dyadic": False})


class Late:
    """A fault that spares the first run of a context, so that both sides have the same run before."""

    def __init__(self, call):
        self.call = call

    def __call__(self, site):
        return None if getattr(site, "run_index", 1) == 0 else self.call(site)


LATE = None


def late(site):
    """The fault under test, by the name that settings need."""
    return LATE(site)


def run_for_real(made, drawn, before, monkeypatch, call):
    """Return the outputs of the second run of a context of the real emulator."""
    monkeypatch.setitem(globals(), "LATE", Late(call))
    settings = Settings(runtime="emulator", gpu="a100", faults=(f"{__name__}:late",))
    rt = discover(settings).executor
    clear = frozenset() if made.contract == "tf32" else frozenset({"TF32"})
    flags = frozenset({"TF32"}) if made.contract == "tf32" else frozenset()
    request = BuildRequest(
        model=drawn.model.SerializeToString(),
        strongly_typed=True,
        flags=flags,
        clear=clear,
        profile=made.profile,
    )
    with Session(rt, build_plan(rt, request)) as session:
        session.run(given(before))
        return session.run(given(drawn))["y"]


def given(drawn):
    """The inputs as a session takes them: bfloat16 as float32."""
    return {
        name: drawn.values[name].astype(np.float32) if array.dtype == np.uint16 else array
        for name, array in drawn.feeds.items()
    }


@pytest.mark.parametrize("contract", ["fp32", "tf32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_replay_equals_the_emulator(name, contract, monkeypatch):
    made = problem(contract)
    entry = {**FAULTS, **HONEST}[name]
    drawn, other = draw(made, "normal"), draw(made, "normal", again=1)
    replay = Replay(drawn.model, made.precision, profile=made.profile)
    recording = replay.record(drawn.feeds, replay.honest(other.feeds))
    real = run_for_real(made, drawn, other, monkeypatch, entry.call)
    replayed = recording.faulty(entry.call)["y"]
    if contract == "bf16":
        replayed = dtypes.from_bf16_bits(replayed)
    assert replayed.dtype == real.dtype and replayed.tobytes() == real.tobytes()


def test_a_fault_that_changes_nothing_gives_the_honest_object():
    drawn = draw(CONV, "normal")
    recording = Replay(drawn.model, "fp16").record(drawn.feeds)
    assert recording.faulty(lambda site: None) is recording.outputs


def test_recorded_arrays_survive_a_fault_that_writes_everywhere():
    def scribble(site):
        for table in ("inputs", "outputs", "exact", "previous_outputs"):
            for array in getattr(site, table, {}).values():
                array[...] = 7

    drawn = draw(CONV, "normal")
    replay = Replay(drawn.model, "fp16")
    recording = replay.record(drawn.feeds, replay.honest(draw(CONV, "normal", again=1).feeds))
    honest = recording.outputs["y"].copy()
    assert (recording.faulty(scribble)["y"] == 7).all()
    assert np.array_equal(recording.outputs["y"], honest)
    assert recording.faulty(lambda site: None) is recording.outputs
    assert recording.faulty(lambda site: None)["y"].tobytes() == honest.tobytes()


def test_a_failed_enqueue_is_an_error():
    drawn = draw(CONV, "normal")
    recording = Replay(drawn.model, "fp16").record(drawn.feeds)
    with pytest.raises(ExecutionError, match="the enqueue failed"):
        recording.faulty(lambda site: False if site.kind == "execute" else None)


def test_sites_tell_the_profile_and_the_run():
    seen = []
    drawn = draw(CONV, "normal")
    replay = Replay(drawn.model, "fp16", gpu="t4", profile=CONV.profile)
    replay.record(drawn.feeds, replay.honest(drawn.feeds)).faulty(seen.append)
    assert [site.kind for site in seen] == ["node", "node", "node", "execute"]
    for site in seen:
        assert (site.gpu, site.precision, site.batch, site.run_index) == ("t4", "fp16", 3, 1)
        assert site.profile["x"] == ((1, 4, 6, 6), (1, 4, 6, 6), (3, 4, 6, 6))
