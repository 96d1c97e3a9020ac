"""From a model and a precision to a subject: which graph, which scales, which typing, under the settings of a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_trt.check.calibrated import Calibrated
from pytest_trt.check.feeds import Profile, check_feeds, draw_feeds, scale_of, shapes_for
from pytest_trt.check.graph import FLOAT_KINDS, Graph
from pytest_trt.check.subject import Subject
from pytest_trt.errors import InputError, PrecisionError
from pytest_trt.numerics.formats import Array
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.calibration import Calibration, calibrate
from pytest_trt.precision.graph import is_quantized
from pytest_trt.precision.implicit import name_nodes
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest
from pytest_trt.runtime.constraints import check_implicit, check_offered
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plans import PlanCache

# INT8 calibration of drawn inputs: a scale of 2**-7, so that scaling the input is exact and ties are decided.
DRAWN_RANGE = 127.0 / 128.0
# Fields of a build that the graph, and what may be expected of the engine, depend on.
_WRITTEN = ("constraints", "layer_types", "dummy_range")


class Maker:
    """Makes subjects; holds the plan caches.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._caches: dict[str, PlanCache | None] = {}

    @property
    def seed(self) -> tuple[int, ...]:
        """What all drawing starts from, as numpy takes it: no negative number."""
        seed = self.settings.seed
        return (seed,) if seed >= 0 else (-seed, 1)

    def is_strong(self, rt: Runtime, precision: str = "fp32") -> bool:
        """Tell whether networks are strongly typed under these settings on a runtime.

        `auto` is strong where that is offered, unless the settings ask for what only weak typing has.
        """
        settings = self.settings
        if settings.typing != "auto":
            return settings.typing == "strong"
        only_weak = settings.constraints != "off" or (precision == "int8" and settings.int8 == "implicit")
        return rt.features.strong_typing and not (only_weak and rt.features.weak_typing)

    def make(
        self,
        rt: Runtime,
        graph: Graph,
        precision: str,
        profile: Profile | None,
        *,
        given: Mapping[str, Array] | None = None,
        calibration: Calibration | Iterable[Mapping[str, Any]] | None = None,
        sizes: Mapping[str, tuple[int, ...]] | None = None,
        build: Mapping[str, Any] | None = None,
    ) -> tuple[Subject, Mapping[str, float]]:
        """Return a model ready to be built, and the INT8 range of each tensor (implicit: none before the build).

        Parameters
        ----------
        given : mapping of input name to array, optional
            The caller's own inputs: what scales come from where there is no `calibration`. Else data are drawn for `sizes`.
        build : mapping
            Further fields of `BuildRequest`. INT8 with a `dummy_range` takes no data.

        Raises
        ------
        PrecisionError
            The model or the settings exclude the precision.
        UnsupportedError
            Implicit INT8 on a TensorRT without calibrators.
        """
        settings = self.settings
        is_int8 = precision == "int8"
        build = dict(build or {})
        options: dict[str, Any] = {"constraints": settings.constraints, "rewriter": settings.rewriter}
        options |= {name: build.pop(name) for name in _WRITTEN if name in build}
        strong = self.is_strong(rt, precision)
        asked = {name: options[name] for name in ("constraints", "layer_types") if name in options}
        check_offered(rt, BuildRequest(b"", strongly_typed=strong, **asked))
        if sizes is None and is_int8:
            sizes = shapes_for(graph, None, profile)
        if is_int8:
            options["hybrid"] = settings.hybrid
        data = None
        if is_int8 and options.get("dummy_range") is None:
            data = self._calibration(graph, given, calibration, sizes or {})
        if data is not None and settings.int8 == "implicit":
            check_implicit(rt)
            prepared = prepare(graph.model, precision, strong=strong, implicit=True, **options)
            prepared = replace(prepared, model=name_nodes(prepared.model))
            calibrated = Calibrated(
                rt, prepared, profile, build=build, allow=settings.allow, calibration=data
            )
            return calibrated, {}
        ranges: Mapping[str, float] = {}
        origin: Mapping[str, Any] = {}
        if data is not None:
            if calibration is None and given is not None and not all(v.size for v in given.values()):
                ranges = measure_ranges(
                    graph.model, [given]
                )  # an engine may be run on nothing, and not calibrated
            else:
                found = calibrate(graph.model, data)
                ranges, origin = found, found.provenance()
            if given is None and calibration is None:
                ranges = {**ranges, **dict.fromkeys(graph.inputs, DRAWN_RANGE)}
        prepared = prepare(graph.model, precision, strong=strong, ranges=ranges or None, **options)
        shared = graph if prepared.matched is graph.model else None
        made = Subject(
            rt, prepared, profile, cache=self._cache(rt), build=build, graph=shared, allow=settings.allow
        )
        made.calibrated_on = origin
        return made, ranges

    def _calibration(
        self,
        graph: Graph,
        given: Mapping[str, Array] | None,
        calibration: Calibration | Iterable[Mapping[str, Any]] | None,
        sizes: Mapping[str, tuple[int, ...]],
    ) -> Calibration | None:
        """Return what INT8 scales come from; None where the graph has scales of its own."""
        typed = types_16(graph)
        if typed and "fp32" not in graph.kinds.values():
            raise typed_itself(typed, "int8")
        if is_quantized(graph.model):
            return None
        if isinstance(calibration, Mapping):
            raise InputError(
                "calibration is one mapping, and should be several", mend="calibration=[{name: array}, ...]"
            )
        if isinstance(calibration, Calibration):
            return replace(calibration, data=_Checked(graph, calibration.data))
        if calibration is not None:
            return Calibration(_Checked(graph, calibration))
        if given is not None:
            return Calibration([given])
        rng = np.random.default_rng([*self.seed, int(graph.digest[:8], 16)])
        reach = dict.fromkeys(graph.inputs, DRAWN_RANGE)
        feeds = draw_feeds(graph, sizes, "uniform11", "int8", scale_of(graph), reach, rng)
        for name, (kind, _) in graph.inputs.items():
            if kind in FLOAT_KINDS and feeds[name].size:
                feeds[name].reshape(-1)[0] = DRAWN_RANGE  # a calibrator sees only data
        return Calibration([feeds])

    def close(self) -> None:
        """Forget the plan caches."""
        self._caches.clear()

    def _cache(self, rt: Runtime) -> PlanCache | None:
        # The emulator builds faster than a file is read.
        if rt.emulated:
            return None
        if rt.plays not in self._caches:
            self._caches[rt.plays] = PlanCache(self.settings.cache_dir)
        return self._caches[rt.plays]


class _Checked:
    """Calibration data, each feed held against the inputs of a graph when it is its turn."""

    def __init__(self, graph: Graph, feeds: Iterable[Mapping[str, Any]]) -> None:
        self._graph, self._feeds = graph, feeds

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        return (check_feeds(self._graph, feed) for feed in self._feeds)


def types_16(graph: Graph) -> list[str]:
    """Return the 16-bit types that the user's own graph computes in."""
    return sorted({"fp16", "bf16"} & {graph.kinds.get(name) or "" for name in graph.producer})


def typed_itself(typed: Sequence[str], precision: str) -> PrecisionError:
    kinds = " and ".join(typed)
    return PrecisionError(
        f"the model is in {kinds} itself: it cannot run in {precision}",
        why="a network keeps the types that its graph has besides fp32",
        mend=f'mark the test trt_precision("{typed[0]}"), or give the model in fp32',
    )
