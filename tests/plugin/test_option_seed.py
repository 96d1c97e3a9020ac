"""`--trt-seed`: all drawing is repeatable."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(trt, "--trt-seed", 0, (("7", 7), ("-3", -3), ("8", 8)))


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--trt-seed", "1.5", "an integer, or random")


def test_random_is_printed_and_repeats(trt: Trt) -> None:
    trt.tests("def test_a(trt_settings): print(f'SEED {trt_settings.seed} END')")
    result = trt.run("--trt-seed=random", "-s")
    printed = next(line for line in result.outlines if "SEED" in line).partition("SEED ")[2].split()[0]
    result.stdout.fnmatch_lines([f"trt: *seed {printed}"])
    assert trt.settings(f"--trt-seed={printed}")["seed"] == int(printed)
