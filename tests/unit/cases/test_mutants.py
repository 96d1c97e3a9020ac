"""The table of mutants: complete, each with faults, each with checks that there are."""

from __future__ import annotations

import re

import pytest

from pytest_trt.cases.mutants import MUTANTS, faults_of
from pytest_trt.emulator.faults import FAULTS, HONEST

NAMES = [f"M{number:02}" for number in range(1, 34)]


def test_every_family_is_a_row():
    assert list(MUTANTS) == NAMES
    assert all(mutant.name == name for name, mutant in MUTANTS.items())
    assert len({mutant.sentence for mutant in MUTANTS.values()}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_every_family_has_a_fault_and_a_check(name):
    assert faults_of(name), f"no fault is registered for {name}: {MUTANTS[name].sentence}"
    assert set(faults_of(name)) <= set(FAULTS)
    assert MUTANTS[name].checks


def test_there_are_at_least_25_honest_variants():
    assert len(faults_of("M33")) >= 25 and set(faults_of("M33")) == set(HONEST)
    assert MUTANTS["M33"].checks == ()


def test_no_fault_names_a_family_that_there_is_not():
    named = {name for entry in {**FAULTS, **HONEST}.values() for name in entry.mutants}
    assert named == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_bugs_are_threads_of_repositories(name):
    bugs = MUTANTS[name].bugs
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", bug) for bug in bugs)
    assert len(set(bugs)) == len(bugs)


def test_an_unknown_family_is_an_error():
    with pytest.raises(KeyError):
        faults_of("M34")
