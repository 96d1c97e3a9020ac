"""Builds in processes of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_trt.errors import ExecutionError, GoldenMissing
from pytest_trt.golden.apart import Asked, build_apart, make_worker
from pytest_trt.golden.key import Key
from pytest_trt.golden.outputs import product_of
from pytest_trt.golden.record import Golden
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case

OWN = "tests.bite.build_faults:"
SETTINGS = Settings(runtime="emulator", gpu="l4")
CASE = Case.parse("gemm-n4-k16-o8-ta0-tb0-al4-be4-b1-w_int-s0")
MODEL = CASE.model().SerializeToString(deterministic=True)
PARSER = Asked("build-parser", "l4", "fp32")
GEMM = Asked("build-gemm", "l4", "fp16", model=MODEL)


def executor(settings=SETTINGS):
    return discover(settings).executor


def test_a_process_that_saw_a_refusal_builds_nothing_more():
    faulty = replace(SETTINGS, faults=(f"{OWN}gemm_refused",))
    work = make_worker(faulty, "emulator")
    assert work(PARSER)["facts"]["outcome"] == "built"
    assert work(GEMM)["facts"]["outcome"] == "refused"
    assert work(PARSER) is None and work(GEMM) is None


def test_what_is_left_after_a_refusal_goes_to_a_fresh_process():
    faulty = replace(SETTINGS, faults=(f"{OWN}gemm_refused",))
    asked = [GEMM, replace(GEMM, precision="fp32"), PARSER]
    made = {
        golden.key.precision + golden.key.case: golden
        for golden in build_apart(executor(), faulty, asked, workers=1)
    }
    outcomes = {name: golden.facts["outcome"] for name, golden in made.items()}
    assert outcomes == {
        "fp16build-gemm": "refused",
        "fp32build-gemm": "refused",
        "fp32build-parser": "built",
    }


def test_a_crash_is_an_outcome_and_its_words_are_the_signal():
    faulty = replace(SETTINGS, faults=(f"{OWN}process_dies",))
    (golden,) = build_apart(executor(), faulty, [replace(GEMM, gpu="t4")], workers=1)
    assert golden.facts["outcome"] == "crashed" and golden.facts["words"] == ["signal SIGKILL"]
    assert golden.key == Key("build-gemm", "fp16", "t4", golden.key.product)
    assert (golden.provenance["gpu_class"], golden.provenance["sm"]) == ("t4", 75)
    built = next(build_apart(executor(), SETTINGS, [GEMM], workers=1))
    assert golden.facts["model"] == built.facts["model"]


def test_two_builds_with_one_key_are_refused():
    with pytest.raises(ValueError, match="one key"):
        next(build_apart(executor(), SETTINGS, [PARSER, PARSER]))


def test_an_error_of_our_own_is_no_outcome():
    broken = replace(GEMM, model=b"no model")
    with pytest.raises(ExecutionError, match="build-gemm/fp16/l4 ended in an error of its own"):
        next(build_apart(executor(), SETTINGS, [broken], workers=1))


class Book:
    """Has goldens of one key."""

    def __init__(self, key):
        self.key = key

    def find(self, key):
        if key != self.key:
            raise GoldenMissing("none")
        return Golden(key, "build")


def test_a_build_is_kept_where_a_book_has_its_key():
    rt = executor()
    book = Book(Key("build-gemm", "fp16", "l4", product_of(rt)))
    assert GEMM.is_kept(rt, book) and not PARSER.is_kept(rt, book)
