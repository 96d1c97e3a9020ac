"""Builds as they were: layers, types, sizes and refusals of fixed cases, held against goldens.

Claim: what one version of TensorRT builds the next one builds, with no node in a wider type and not with twice the memory;
tactics, fusions and plan sizes may change. The goldens of TensorRT-RTX 1.6.1 and 1.7.1 come with the suites:
`--trt-golden-from=tensorrt_rtx-1.6.1.120` compares with the older one, `--trt-golden=record` records another version.

A real TensorRT builds, each case in a process that may crash; TensorRT-RTX does so without a GPU. The quick budget builds a few
cases for one class. A refusal that the table of known limits knows (`pytest_trt/cases/limits.toml`) is an expected failure.
"""

from __future__ import annotations

import pytest

from pytest_trt.golden.apart import build_apart
from pytest_trt.session import session_of
from pytest_trt.upgrades import note_change

from ._golden_builds import FULL, GPUS, QUICK, classes_of, find_known, hold_builds, list_builds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One class under the quick budget, else one of each generation that has its own rules."""
    quick = session_of(metafunc.config).settings.budget == "quick"
    metafunc.parametrize("gpu", (FULL,) if quick else GPUS)


def test_builds_are_those_of_the_golden(gpu, trt_builder, trt_golden, trt_precision, trt_settings, request):
    """Nothing that was built is refused, and no node works in a wider type; a real TensorRT builds."""
    classes = classes_of(trt_builder)
    if gpu not in classes:
        if gpu != FULL:
            pytest.skip(f"not applicable: {trt_builder.title} builds for {classes[0]} alone")
        gpu = classes[0]
    names = QUICK if trt_settings.budget == "quick" else None
    calibrates = trt_builder.features.calibrators and trt_builder.can_execute
    asked = list_builds((gpu,), (trt_precision,), names, calibrates=calibrates)
    if not asked:
        pytest.skip(f"not applicable: no build for {gpu} is kept at {trt_precision}")
    session = session_of(request.config)
    if trt_settings.golden == "off":
        session.need_golden("goldens are switched off by --trt-golden=off", "leave it out")
    wanted = asked
    if trt_settings.golden == "check":
        wanted = [one for one in asked if one.is_kept(trt_builder, trt_golden.book)]
    if not wanted:
        place = f"{trt_builder.title} for {gpu} in {trt_golden.book.store.place!r}"
        session.need_golden(f"no goldens of builds by {place}", "record them: --trt-golden=record")
    made = build_apart(trt_builder, trt_settings, wanted, workers=1 if names else None)
    held = hold_builds(trt_golden.book, made, request.node, note_change)
    failed = [entry for entry in held if not entry.passed]
    known = [find_known(trt_builder, wanted, entry.comparison) for entry in failed]
    lines = [
        f"{entry.comparison.key.title}: {'; '.join(entry.comparison.why)}"
        for entry, row in zip(failed, known, strict=True)
        if not row
    ]
    older = trt_settings.golden_from or "the golden"
    assert not lines, f"{len(lines)} of {len(held)} builds are worse than {older}:\n" + "\n".join(lines)
    if known:
        pytest.xfail(f"known limits of {trt_builder.title}: {', '.join(sorted(set(known)))}")
