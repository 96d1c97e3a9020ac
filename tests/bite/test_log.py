"""Logging: each check of the log suite has a subject that it catches, and only it."""

from __future__ import annotations

import copy

import pytest

from pytest_trt.check import said
from pytest_trt.check.said import Answer
from pytest_trt.emulator import faults
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _log

SHIPPED = "pytest_trt.emulator.faults:"
VERSIONS = ("tensorrt-8.6.1", "tensorrt-10.13", "tensorrt-11.4", "tensorrt_rtx-1.7")


def ask(*names, emulate="tensorrt-10.13", situations=(*_log.TOGETHER, *_log.ALONE)):
    full = tuple(SHIPPED + name for name in names)
    rt = discover(Settings(runtime="emulator", gpu="t4", emulate=emulate, faults=full)).executor
    return said.ask(rt, situations, _log.model())


def judged(answer):
    """Return every check with what is wrong; a check may come once."""
    rows = [*_log.check_log(answer.facts), *_log.check_second_logger(answer), *_log.check_recorder(answer)]
    assert len({name for name, _ in rows}) == len(rows)
    return dict(rows)


def broken(answer):
    return {name for name, note in judged(answer).items() if note is not None}


FAULTS = {
    "error_logged_twice": _log.ONE_ERROR,
    "good_build_warns": _log.QUIET,
    "recorded_error_logged_too": _log.IN_RECORDER,
    "config_inherits_no_recorder": _log.INHERITED,
    "verbose_lines_lost": _log.DETAILS,
    "errors_of_second_logger_lost": _log.SECOND,
    "errors_of_other_threads_lost": _log.THREADS,
    "parse_errors_unsaid": _log.FOUND,
}


@pytest.mark.parametrize("emulate", ["tensorrt-10.13", "tensorrt_rtx-1.7"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_log_gone_wrong_is_caught_by_its_own_check_alone(name, emulate):
    assert broken(ask(name, emulate=emulate)) == {FAULTS[name]}


def other_numbers(facts):
    facts["severities"]["numbers"]["VERBOSE"] = 5


def not_on_the_logger(facts):
    facts["severities"]["on_logger"].remove("INFO")


def stopped_by_a_logger(facts):
    facts["raising_logger"]["built"] = False


def an_empty_network_that_is_built(facts):
    facts["empty_network"]["built"] = True


def a_recorded_one_that_is_built(facts):
    facts["empty_network_recorded"]["built"] = True


def a_good_model_that_is_not_built(facts):
    facts["clean_build"]["built"] = False


def no_line_but_details(facts):
    facts["clean_build"]["lines"] = [["VERBOSE", "a detail"]]


def another_code(facts):
    facts["empty_network_recorded"]["errors"][0][0] = "INVALID_STATE"


def an_older_network_that_inherits(facts):
    facts["inheritance"]["INetworkDefinition::getInput before"] = {"recorder": 1, "logger": 1}


def the_threads_mixed_up(facts):
    lines = facts["two_threads"]
    lines["good"]["lines"] += lines["empty"]["lines"]


def a_thread_that_raised(facts):
    del facts["two_threads"]["good"]


def garbage_that_is_parsed(facts):
    facts["parser_and_recorder"]["parsed"] = True


PLANTED = {
    other_numbers: _log.NUMBERED,
    not_on_the_logger: _log.NUMBERED,
    stopped_by_a_logger: _log.RAISING,
    an_empty_network_that_is_built: _log.ONE_ERROR,
    a_recorded_one_that_is_built: _log.IN_RECORDER,
    a_good_model_that_is_not_built: _log.QUIET,
    no_line_but_details: _log.DETAILS,
    another_code: _log.IN_RECORDER,
    an_older_network_that_inherits: _log.INHERITED,
    the_threads_mixed_up: _log.THREADS,
    a_thread_that_raised: _log.THREADS,
    garbage_that_is_parsed: _log.FOUND,
}


@pytest.fixture(scope="module")
def honest():
    return ask()


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_other_facts_are_caught_by_their_own_check_alone(plant, honest):
    facts = copy.deepcopy(honest.facts)
    plant(facts)
    assert broken(Answer(0, facts)) == {PLANTED[plant]}


def test_a_process_that_crashes_is_told_with_its_status(honest):
    notes = judged(Answer(-11, honest.facts))
    assert {name for name, note in notes.items() if note} == {_log.TORN_DOWN}
    assert (
        notes[_log.TORN_DOWN] == "the process ended with status -11 as a parser and a recorder were released"
    )
    short = {name: told for name, told in honest.facts.items() if name not in _log.ALONE}
    assert broken(Answer(-11, short)) == {_log.TORN_DOWN, _log.SECOND}


def test_a_logger_that_stops_a_build_is_caught(monkeypatch):
    """The real situation, on an emulator whose bindings let exceptions of callbacks through."""
    monkeypatch.setattr(
        "pytest_trt.emulator.reporting.shielded", lambda call, *args, default=None: call(*args)
    )
    with pytest.raises(ValueError, match="this logger raises"):
        ask(situations=("raising_logger",))


@pytest.mark.parametrize("emulate", VERSIONS)
def test_an_honest_log_passes_and_every_check_has_its_subject(emulate):
    notes = judged(ask(emulate=emulate))
    assert set(notes.values()) == {None}
    assert set(notes) == {*FAULTS.values(), *PLANTED.values(), _log.TORN_DOWN}


def test_every_fault_of_logging_is_in_the_table():
    shipped = {name for name, entry in faults.FAULTS.items() if entry.family == "log"}
    assert shipped == set(FAULTS)
    assert all(faults.FAULTS[name].call.__doc__ for name in shipped)
