"""What the outputs of a network may be, from its inputs alone: one judgement for engines that show different inner tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from pytest_trt.check.deep import NOISE_SIGMAS, NOISE_TOPS
from pytest_trt.check.graph import FLOAT_KINDS, Graph
from pytest_trt.check.layers import is_deep, judge_layers
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.check.variance import end_to_end
from pytest_trt.errors import ModelError
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import measure
from pytest_trt.records import VIOLATES

# By how much each tensor is shaken to measure the noise, relatively: half a step of the type, a few units of FP32 sums.
_STORES = {"fp16": 2.0**-11, "bf16": 2.0**-8, "tf32": 2.0**-11}
_FEEDS = {"fp32": 2.0**-23, "tf32": 2.0**-10, "fp16": 2.0**-10, "bf16": 2.0**-7}


class FinalLimits:
    """Judges the outputs of runs on the same inputs, whatever else the engines showed.

    A shallow network has hard limits. For a deep one they are too wide to see anything: its outputs may lie 12 standard
    deviations of the errors of all layers together from the exact ones or, where the variance model does not cover the network,
    as far from the reference as its noise when every tensor changes in the last bit of the precision.

    Parameters
    ----------
    graph : Graph
        Typed.
    feeds : mapping of str to ndarray
    contract : Contract
    rungs : sequence of str
        Rungs of the ladder that pass.
    precision : str
    """

    def __init__(
        self,
        graph: Graph,
        feeds: Mapping[str, Array],
        contract: Contract,
        rungs: Sequence[str],
        precision: str,
    ) -> None:
        self._graph, self._feeds, self._contract = graph, feeds, contract
        self._rungs, self._precision = tuple(rungs), precision

    def describe_wrong(self, got: Mapping[str, Array]) -> str:
        """Return what is wrong with the outputs of a run, in words; empty if nothing is known to be."""
        outputs = {name: got[name] for name in self._graph.outputs if name in got}
        if not is_deep(self._graph):
            report = judge_layers(self._graph, self._feeds, outputs, self._contract, self._rungs)
            bad = [entry for entry in report.judged if entry.status == VIOLATES]
            if bad or not report.unjudged:
                return "" if not bad else _say(bad[0].tensor, bad[0].measure.bad, bad[0].measure.total)
        for name, values in outputs.items():
            found = [bounds[name] for bounds in self._likely if name in bounds]
            if any(bound.mid.shape != values.shape for bound in found):
                return f"output {name!r} has shape {values.shape}"
            measures = [measure(values, bound) for bound in found]
            if measures and all(one.bad for one in measures):
                return _say(name, measures[0].bad, measures[0].total)
        return ""

    def limits(self) -> dict[str, Bound]:
        """Return where each output of a deep network may lie: the hull of what the rungs admit."""
        found: dict[str, Bound] = {}
        for bounds in self._likely:
            for name, bound in bounds.items():
                known = found.get(name)
                if known is not None:
                    low, high = np.minimum(known.low, bound.low), np.maximum(known.high, bound.high)
                    bound = replace(known, low=low, high=high, _lsb=[])
                found[name] = bound
        return found

    @cached_property
    def _likely(self) -> list[dict[str, Bound]]:
        """Where the outputs of a deep network lie: by the variance of its errors on each rung, else by measured noise."""
        rungs = ("direct", *(rung for rung in self._rungs if rung not in ("direct", "unfused")))
        modelled = [end_to_end(self._graph, self._feeds, self._contract, rung) for rung in rungs]
        known = [bounds for bounds in modelled if bounds is not None]
        return known if len(known) == len(modelled) else [self._noise()]

    def _noise(self) -> dict[str, Bound]:
        want = OnnxRuntime(self._graph).run(self._feeds)
        try:
            shaken = OnnxRuntime(self._graph, unit=_STORES.get(self._precision, 2.0**-21))
        except ModelError:  # shaken inputs have to do
            shaken = OnnxRuntime(self._graph)
        rng, unit = np.random.default_rng(0), _FEEDS.get(self._precision, 2.0**-7)
        feeds = {
            name: (values * (1 + unit * rng.uniform(-1, 1, values.shape))).astype(values.dtype)
            if self._graph.inputs[name][0] in FLOAT_KINDS
            else values
            for name, values in self._feeds.items()
        }
        other = shaken.run(feeds)
        limits = {}
        for name, values in want.items():
            quantised = values.dtype.itemsize == 1 and values.dtype.kind in "iu"
            if not (quantised or values.dtype.kind == "f") or other[name].shape != values.shape:
                continue
            mid = values.astype(np.float64)
            with np.errstate(invalid="ignore"):
                change = np.abs(other[name].astype(np.float64) - mid)
            change = change[np.isfinite(change)]
            if change.size:
                room = max(
                    float(quantised),  # a level may flip
                    NOISE_SIGMAS * float(np.sqrt(np.mean(change**2))),
                    NOISE_TOPS * float(change.max()),
                )
                limits[name] = Bound(mid, mid - room, mid + room)
        return limits


def _say(name: str, bad: int, total: int) -> str:
    return f"output {name!r}: {bad} of {total} values are none that the errors of all layers together explain"
