"""Wrong tables of GPU classes, and GPUs that are not what their class says: each check is broken by one that breaks no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_trt import hardware
from suites import _classes as suite

T4, H200 = hardware.get("t4"), hardware.classify("NVIDIA H200", 90)
LIKE_IT = {"multiprocessors": 132, "memory_bytes": 150_754_820_096, "capability": (9, 0)}


def with_figures(**changes):
    return replace(T4, figures=replace(T4.figures, **changes))


def broken(rows):
    return {check for check, wrong in rows if wrong is not None}


TABLES = {
    suite.RATES: with_figures(tera={"fp32": 8.1, "fp16": 65, "int8": 13}),
    suite.BANDWIDTH: with_figures(bandwidth_gb_s=0.32),
    suite.PER_PROCESSOR: with_figures(multiprocessors=4),
    suite.SOURCED: with_figures(source=""),
    suite.SUPPORTED: replace(T4, versions={"tensorrt": ("10.4", "8.6")}),
}


def test_the_table_breaks_no_check():
    rows = list(suite.check_table())
    assert broken(rows) == set() and {check for check, _ in rows} == set(TABLES)


@pytest.mark.parametrize("check", TABLES)
def test_each_check_is_broken_by_its_own_table_alone(check):
    assert broken(suite.check_table((T4, TABLES[check]))) == {check}


def test_tensor_cores_faster_than_can_be_are_caught():
    assert broken(suite.check_table((with_figures(tera={"fp32": 8.1, "fp16": 650, "int8": 1300}),))) == {
        suite.RATES
    }


def test_a_figure_that_is_left_out_without_a_word_is_caught():
    assert broken(suite.check_table((with_figures(memory_gb=None),))) == {suite.SOURCED}


def test_a_variant_is_held_too():
    wrong = replace(T4, variants={"T4X": replace(T4.figures, bandwidth_gb_s=80_000.0)})
    assert broken(suite.check_table((wrong,))) == {suite.BANDWIDTH}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"multiprocessors": 114}, "114 multiprocessors, want 132"),
        ({"memory_bytes": 80 * 10**9}, "80.0 * 10^9 bytes of memory, want about 141"),
        ({"capability": (8, 0)}, "compute capability 8.0, want 9.0"),
    ],
)
def test_another_gpu_than_its_class_is_caught(changes, words):
    assert broken(suite.check_device(LIKE_IT, H200)) == set()
    ((check, wrong),) = suite.check_device(LIKE_IT | changes, H200)
    assert check == suite.THIS_GPU and words in wrong
