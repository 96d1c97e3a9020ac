"""Faults of contexts that run beside each other: one run in so many gets an answer that belongs to another context."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_trt.emulator.faults.registry import fault


def _cross_talk(site: Any, chance: float) -> None:
    """Put a row of the last run of another context of the engine into the outputs, as often as the chance has it.

    The dice are thrown once a run whoever runs, so that how often it happens does not depend on the order of threads.
    """
    if site.kind != "execute":
        return
    dice = site.memory.setdefault("cross-talk dice", site.rng)
    hit, place = dice.random(2)
    answers = site.memory.setdefault(("cross-talk", site.engine_id), {})
    others = [outputs for context, outputs in list(answers.items()) if context != site.context_id]
    answers[site.context_id] = {name: np.array(array) for name, array in site.outputs.items()}
    if hit >= chance or not others:
        return
    other = others[int(place * len(others))]
    for name, array in site.outputs.items():
        if array.ndim and array.size and other[name].shape[1:] == array.shape[1:]:
            array[-1] = other[name][-1]


@fault("concurrency", mutants="M23")
def crosstalk_one_in_8(site: Any) -> None:
    """Give a row of another context's answer in one run of 8 (issues 1121, 2040 and 2353)."""
    _cross_talk(site, 1 / 8)


@fault("concurrency", mutants="M23")
def crosstalk_one_in_100(site: Any) -> None:
    """Give a row of another context's answer in one run of 100 (microsoft/onnxruntime issue 19275)."""
    _cross_talk(site, 1 / 100)


@fault("concurrency", mutants="M23")
def crosstalk_one_in_1000(site: Any) -> None:
    """Give a row of another context's answer in one run of 1,000 (microsoft/onnxruntime issue 19275)."""
    _cross_talk(site, 1 / 1000)
