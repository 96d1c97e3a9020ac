"""Layers against whole runs: shares, reasons, and the section that a report shows."""

from __future__ import annotations

import json
import math

import pytest

from pytest_trt.bench import timer
from pytest_trt.bench.measure import Measurement, measure_session
from pytest_trt.bench.profile import Profile, profile_session
from pytest_trt.bench.timer import CUDA_EVENTS, MODELLED
from pytest_trt.bench.warm import WarmUp
from pytest_trt.errors import UsageError
from pytest_trt.report.sections import make_section
from pytest_trt.runtime.session import Session
from tests.unit.bench.timed import start

LAYERS = (("conv", 3e-5), ("relu", 1e-5), ("conv1", 6e-5))


def whole(seconds=1e-4, clock=CUDA_EVENTS):
    times = tuple(seconds * (1 + 1e-4 * number) for number in range(20))
    return Measurement(times, 20, clock, WarmUp(15, (seconds,) * 3), None, tuple(21 * t for t in times), ())


def test_shares_add_up():
    found = Profile(LAYERS, whole(), 10)
    assert found.reliable and found.layer_seconds == pytest.approx(1e-4)
    assert found.share_of_total == pytest.approx(1, rel=2e-3)
    assert found.share("conv") == pytest.approx(0.3)
    assert sum(found.share(name) for name, _ in LAYERS) == pytest.approx(1)
    assert [name for name, _ in found.slowest] == ["conv1", "conv", "relu"]
    with pytest.raises(UsageError, match="no layer 'gelu'"):
        found.share("gelu")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (
            Profile(LAYERS, whole(3e-4), 10),
            "the layers take 33.3 % of a run without profiler, not 50 to 150 %",
        ),
        (
            Profile(LAYERS, whole(5e-5), 10),
            "the layers take 200 % of a run without profiler, not 50 to 150 %",
        ),
        (
            Profile((("a", 4e-6), ("b", 4e-6)), whole(8e-6), 10),
            "layers take 4 microseconds on average: the profiler's own events take as long",
        ),
        (
            Profile(LAYERS, whole(), 10, "the profiler was told of 2 layers"),
            "the profiler was told of 2 layers",
        ),
    ],
)
def test_what_cannot_be_relied_on_has_a_reason(profile, words):
    assert words in profile.reasons[0] and len(profile.reasons) == 1 and not profile.reliable
    assert profile.to_plain()["reasons"] == list(profile.reasons)
    assert f"unreliable: {profile.reasons[0]}" in profile.section()["text"]


def test_whole_runs_that_are_unreliable_are_a_reason():
    still = Measurement((1e-4,) * 20, 20, CUDA_EVENTS, WarmUp(15, (1e-4,) * 3))
    found = Profile(LAYERS, still, 10)
    assert "the clock stands still" in found.reasons[0] and found.blurred == found.reasons


def test_computed_layers_may_be_short():
    assert Profile((("a", 2e-6),), whole(2e-6, MODELLED), 10).reliable


def test_layers_without_time_have_no_share():
    found = Profile((("a", 0.0),), whole(), 10)
    assert math.isnan(found.share("a")) and not found.reliable
    section = make_section(found.section())
    assert section["rows"] == []
    assert math.isnan(Profile(LAYERS, Measurement((0.0,), 1, MODELLED, WarmUp(3, (0.0,))), 1).share_of_total)


def test_a_layer_time_that_is_none_is_plain_data_all_the_same():
    found = Profile((("a", math.nan), ("b", 1e-5)), whole(), 10, "layer 'a' took nan s")
    plain = json.loads(json.dumps(found.to_plain(), allow_nan=False))
    assert plain["layers"] == [["a", None], ["b", 1e-5]] and plain["layer_seconds"] is None
    assert make_section(found.section())["rows"] == [] and not found.reliable


def test_the_section_has_all_layers_and_bars_of_the_slowest():
    many = tuple((f"layer{number}", 1e-5 * (1 + number)) for number in range(30))
    section = make_section(Profile(many, whole(4.65e-3), 10).section("Layers of a net"))
    assert section["title"] == "Layers of a net" and len(section["rows"]) == 30
    assert section["rows"][0] == ["layer29", "300.000", "6.5 %"]
    assert len(section["plot"]["labels"]) == 20 and section["plot"]["labels"][0] == "1 layer29"
    assert "30 layers take 4650 microseconds" in section["text"][0]
    assert make_section(Profile((), whole(), 1).section())["plot"] is None


def test_a_session_is_profiled():
    with start() as session, timer.modelled(session.rt):
        found = profile_session(session, runs=3)
        assert [name for name, _ in found.layers] == ["conv", "relu"]
        assert len(found.layers) == session.engine.num_layers
        assert found.share_of_total == pytest.approx(1) and found.reliable and found.runs == 3
        assert session.context.profiler is None
        json.dumps(found.to_plain(), allow_nan=False)
        before = measure_session(session)
        assert profile_session(session, whole=before).whole is before


def test_layers_of_one_name_are_kept_apart(monkeypatch):
    with start() as session, timer.modelled(session.rt):
        monkeypatch.setattr(
            "pytest_trt.bench.clocks.LayerClock.take", lambda self: (("same", 1e-6), ("same", 3e-6))
        )
        found = profile_session(session)
    assert found.layers == (("same", 1e-6), ("same", 3e-6)) and found.share("same") == 1


def test_there_has_to_be_a_run():
    with start() as session, Session(session.rt, session.engine) as other:
        with pytest.raises(UsageError, match="nothing to measure"):
            profile_session(other)
        with pytest.raises(UsageError, match="one run at least, not 0"):
            profile_session(session, runs=0)
