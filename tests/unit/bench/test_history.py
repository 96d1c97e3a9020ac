"""Stored runs become series, and a series has a step or only noise."""

from __future__ import annotations

import json
import math
import random

import pytest

from pytest_trt.bench import history
from pytest_trt.bench.history import BASELINE, Point, Series, find_steps, load, machine_of, reasons_of

OURS = {"machine_info": {"trt": {"id": "TensorRT 11.4"}}}


def noise(count, middle=1.0, spread=0.01, seed=1):
    rng = random.Random(f"{seed} {middle}")
    return [rng.gauss(middle, spread * middle) for _ in range(count)]


def bench(name="t.py::test_a", seconds=1e-3, extra=None, **stats):
    plain = {"median": seconds, "mean": seconds, "stddev": seconds / 50, **stats}
    return {"fullname": name, "stats": plain, "extra_info": {} if extra is None else {"trt": extra}}


def keep(folder, number, *benches, when=None, machine="Linux-CPython-3.11-64bit", **more):
    path = folder / machine / f"{number:04}_x.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    when = when or f"2026-01-{number:02}T00:00:00+00:00"
    path.write_text(json.dumps({"datetime": when, "benchmarks": benches} | OURS | more))
    return path


def series(values, **more):
    from datetime import datetime, timedelta, timezone

    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    points = (Point(start + timedelta(days=day), value, 0.01, **more) for day, value in enumerate(values))
    return Series("t.py::test_a", "m", tuple(points))


class TestSteps:
    @pytest.mark.parametrize("size", [0.05, 0.10, -0.10])
    @pytest.mark.parametrize("before", [10, 20, 40])
    def test_a_step_is_found_where_it_is(self, size, before):
        (step,) = find_steps(noise(before) + noise(20, 1 + size))
        assert abs(step.first - before) <= 1
        assert step.noticed - step.first <= 10
        assert step.change == pytest.approx(size, abs=0.015)

    def test_it_is_found_before_the_series_ends(self):
        values = noise(20) + noise(6, 1.1)
        assert not find_steps(values[:-1])
        (step,) = find_steps(values)
        assert (step.first, step.noticed) == (20, 25)

    def test_several_steps(self):
        steps = find_steps(noise(20) + noise(20, 1.1) + noise(20, 1.0, seed=2) + noise(20, 1.3))
        assert [round(step.change, 1) for step in steps] == [0.1, -0.1, 0.3]
        assert [abs(step.first - want) <= 1 for step, want in zip(steps, (20, 40, 60), strict=True)] == [
            True
        ] * 3

    @pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [1.0] * 50, [1.0, 1.2] * 30, noise(100)])
    def test_noise_has_none(self, values):
        assert find_steps(values) == ()

    def test_one_slow_run_is_none(self):
        values = [*noise(20), 3.0, *noise(20, seed=2)]
        assert find_steps(values) == ()

    def test_a_change_that_does_not_matter_is_none(self):
        assert find_steps(noise(40, 1.0, 1e-4) + noise(40, 1.01, 1e-4)) == ()

    def test_sides_that_overlap_much_are_none(self, monkeypatch):
        values = noise(40, 1.0, 0.05) + noise(40, 1.05, 0.05)
        assert find_steps(values) == ()
        monkeypatch.setattr(history, "SEPARATED", 0.5)
        assert find_steps(values)

    def test_equal_values_before_and_after(self):
        (step,) = find_steps([1.0] * 20 + [1.05] * 10)
        assert (step.first, step.before, step.after) == (20, 1.0, 1.05)

    def test_only_ranks_place_it(self):
        values = noise(20) + noise(20, 1.1)
        (step,), (cubed,) = find_steps(values), find_steps([value**3 for value in values])
        assert (step.first, step.noticed) == (cubed.first, cubed.noticed)


class TestSeries:
    def test_unreliable_points_are_kept_and_not_used(self):
        good = series(noise(40))
        bad = tuple(
            Point(point.when, 9.0, 0.3, ("hot",)) if number > 20 and number % 2 else point
            for number, point in enumerate(good.points)
        )
        mixed = Series("t", "m", bad)
        assert len(mixed.points) == 40 and len(mixed.used) == 30
        assert mixed.steps == ()

    def test_change_is_against_the_first_runs(self):
        assert series([1.0] * BASELINE + [1.5, 1.2]).change == pytest.approx(0.2)
        assert math.isnan(series([1.0], reasons=("hot",)).change)

    def test_slower_is_recent_and_not_made_good(self):
        slow = noise(20) + noise(10, 1.1)
        assert series(slow).is_slower(20)
        assert not series(slow + noise(30, 1.1, seed=2)).is_slower(20)
        assert not series(slow + noise(10, 1.0, seed=3)).is_slower(40)
        assert series(slow + noise(10, 1.05, seed=4)).is_slower(40)
        assert not series(noise(20) + noise(10, 0.9)).is_slower(40)
        assert not series(noise(30)).is_slower(40)


class TestLoad:
    def test_series_by_benchmark_and_machine_in_the_order_of_time(self, tmp_path):
        keep(tmp_path, 1, bench(seconds=2.0), bench("t.py::test_b"), when="2026-03-01T00:00:00+00:00")
        keep(tmp_path, 2, bench(seconds=1.0), when="2026-02-01T00:00:00")  # as pytest-benchmark 4 writes it
        keep(tmp_path, 3, bench(seconds=3.0), when="2026-04-01T00:00:00Z", machine="Other")
        keep(tmp_path, 4, bench(seconds=4.0), machine_info={"trt": {"id": "TensorRT 10.0"}})
        found, trouble = load(tmp_path)
        assert trouble == ()
        assert [(one.machine, one.benchmark) for one in found] == [
            ("TensorRT 10.0", "t.py::test_a"),
            ("TensorRT 11.4", "t.py::test_a"),
            ("TensorRT 11.4", "t.py::test_b"),
        ]
        assert [point.seconds for point in found[1].points] == [1.0, 2.0, 3.0]
        assert found[1].points[0].source == "Linux-CPython-3.11-64bit/0002_x.json"

    def test_what_a_point_says(self, tmp_path):
        commit = {"id": "0123456789abcdef", "dirty": True}
        keep(tmp_path, 1, bench(extra={"reliable": True, "variation": 0.03}), commit_info=commit)
        keep(
            tmp_path, 2, bench(extra={"reliable": False, "reasons": ["hot", "cold"]}), commit_info={"id": "a"}
        )
        keep(tmp_path, 3, bench(seconds=0.0))
        first, second, third = load(tmp_path)[0][0].points
        assert (first.commit, first.variation, first.reliable) == ("0123456789+", 0.03, True)
        assert (second.commit, second.variation, second.reasons) == ("a", 0.02, ("hot", "cold"))
        assert third.reasons == ("a time of 0.0 s",) and math.isnan(third.variation) and third.commit == ""

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"machine_info": {}, "benchmarks": [{}]}', '"x"'])
    def test_what_cannot_be_read_is_told(self, tmp_path, text):
        keep(tmp_path, 1, bench())
        (tmp_path / "odd.json").write_text(text)
        found, trouble = load(tmp_path)
        assert len(found) == 1
        assert len(trouble) == 1 and trouble[0].startswith("odd.json is no stored run of pytest-benchmark: ")

    @pytest.mark.parametrize(
        ("info", "name"),
        [
            ({"trt": {"id": "X"}}, "X"),
            ({"trt": {}, "cpu": {"brand_raw": "P"}, "system": "Linux"}, "P, Linux"),
            ({"cpu": {}, "machine": "x86_64", "system": "Linux"}, "x86_64, Linux"),
            ({}, "a machine that is not told"),
        ],
    )
    def test_machine(self, info, name):
        assert machine_of(info) == name

    @pytest.mark.parametrize(
        ("extra", "reasons"),
        [
            ({}, ()),
            ({"trt": "odd"}, ()),
            ({"trt": {}}, ()),
            ({"trt": {"reliable": True, "reasons": ["x"]}}, ()),
            ({"trt": {"reliable": False, "reasons": ["x"]}}, ("x",)),
            ({"trt": {"reliable": False}}, ("no reason is told",)),
        ],
    )
    def test_reasons(self, extra, reasons):
        assert reasons_of({"extra_info": extra}) == reasons
