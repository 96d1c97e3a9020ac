"""A model made ready at a precision, built, and runnable: what the check examines."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

from onnx import ModelProto

from pytest_trt.check.feeds import Profile
from pytest_trt.check.graph import Graph
from pytest_trt.numerics.bounds import Contract
from pytest_trt.numerics.formats import Array
from pytest_trt.precision import Prepared
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.external import serialize_whole
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.plans import PlanCache
from pytest_trt.runtime.session import Session, load_engine

# What a caller may say of a build; the rest follows from model and precision.
BUILD_OPTIONS = {entry.name for entry in fields(BuildRequest)} - {
    "model",
    "strongly_typed",
    "flags",
    "clear",
    "profile",
    "outputs",
    "shown",
    "model_path",
}


class Subject:
    """One prepared model on one runtime; plan, engine and session are made at first use.

    Parameters
    ----------
    rt : Runtime
    prepared : Prepared
    profile : mapping of str to (min, opt, max), optional
    cache : PlanCache, optional
    outputs : tuple of str
        Inner tensors marked as outputs as well.
    build : mapping
        Further fields of `BuildRequest`.
    graph : Graph, optional
        Of `prepared.matched`, where it has been read already.
    allow : collection of str
        Members of `records.ALLOWANCES`: what a kernel may do besides.
    """

    def __init__(
        self,
        rt: Runtime,
        prepared: Prepared,
        profile: Profile | None,
        *,
        cache: PlanCache | None = None,
        outputs: tuple[str, ...] = (),
        build: Mapping[str, Any] | None = None,
        graph: Graph | None = None,
        allow: Collection[str] = (),
    ) -> None:
        self.rt = rt
        self.prepared = prepared
        self.profile = profile
        self.outputs = outputs
        self._cache = cache
        self._build = dict(build or {})
        self._session: Session | None = None
        self._graph = graph
        self.allow = frozenset(allow)
        self.calibrated_on: Mapping[str, Any] = {}  # where INT8 ranges come from: method, counts, digests

    @cached_property
    def graph(self) -> Graph:
        """The typed graph that the check interprets."""
        return Graph(self.prepared.matched) if self._graph is None else self._graph

    @cached_property
    def contract(self) -> Contract:
        """What this build promises about its arithmetic."""
        prepared, precision = self.prepared, self.prepared.precision
        return Contract(
            tf32=precision == "tf32",
            sm=self.rt.gpu.sm,
            weak=not prepared.strong and (precision in ("fp16", "bf16") or prepared.hybrid != "off"),
            obeyed=prepared.constraints == "obey",
            statistics=True,
            accumulate="fp16" if "half" in self.allow and precision == "fp16" else "fp32",
            ties="any" if "ties" in self.allow else "even",
            flush="flush" in self.allow,
            nan="any" if "nan" in self.allow else "propagate",
        )

    @property
    def request(self) -> BuildRequest:
        """What is asked of the builder."""
        prepared = self.prepared
        typed: dict[str, Any] = {
            "constraints": prepared.constraints,
            "layer_types": prepared.layer_types,
            "dummy_range": prepared.dummy_range,
        }
        return BuildRequest(
            model=serialize_whole(prepared.model),
            strongly_typed=prepared.strong,
            flags=prepared.flags,
            clear=prepared.clear,
            profile=self.profile,
            outputs=self.outputs,
            **{**typed, **self._build},
        )

    @cached_property
    def plan(self) -> Plan:
        """The plan, from the cache or built."""
        return build_plan(self.rt, self.request, self._cache)

    @property
    def scales(self) -> Mapping[str, Array]:
        """INT8 scales by tensor."""
        return self.prepared.scales

    @cached_property
    def engine(self) -> Any:
        """The raw engine."""
        return load_engine(self.rt, self.plan)

    @property
    def session(self) -> Session:
        """A session of its own on the engine."""
        if self._session is None:
            self._session = Session(self.rt, self.engine)
        return self._session

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the engine's outputs."""
        return self.session.run(feeds)

    def with_outputs(self, outputs: tuple[str, ...]) -> Subject:
        """Return the same subject with inner tensors marked as outputs."""
        return self._sibling(self.profile, outputs)

    def with_profile(self, profile: Profile) -> Subject:
        """Return the same subject built for another profile."""
        return self._sibling(profile, self.outputs)

    def with_tensors_shown(self) -> Subject | None:
        """Return the same subject, fused alike, whose runs show the tensors between layers; None where TensorRT cannot."""
        if not self.rt.features.unfused_debug_tensors:
            return None
        return self._sibling(self.profile, self.outputs, shown=True)

    def with_debug(self, names: tuple[str, ...]) -> Subject:
        """Return the same subject with inner tensors marked for a debug listener; it is built, and in no plan cache."""
        made = self._sibling(self.profile, self.outputs, debug=names)
        made._cache = None  # looked at once
        return made

    def _sibling(self, profile: Profile | None, outputs: tuple[str, ...], **build: Any) -> Subject:
        # Nobody asks a sibling for its layers.
        build = {**self._build, "detailed": False, **build}
        return Subject(
            self.rt,
            self.prepared,
            profile,
            cache=self._cache,
            outputs=outputs,
            build=build,
            graph=self.graph,
            allow=self.allow,
        )

    def again(
        self,
        model: ModelProto | None = None,
        flags: Collection[str] = frozenset(),
        graph: Graph | None = None,
    ) -> Subject:
        """Return the subject once more, never from a plan cache; with another typed model, or further builder flags."""
        prepared = replace(self.prepared, flags=self.prepared.flags | frozenset(flags))
        if model is not None:
            prepared = replace(prepared, model=model, matched=model)
        return Subject(
            self.rt,
            prepared,
            self.profile,
            build=self._build,
            graph=graph if model is not None else self.graph,
            allow=self.allow,
        )

    def close(self) -> None:
        """Release session and engine, in that order."""
        if self._session is not None:
            self._session.close()
            self._session = None
        self.__dict__.pop("engine", None)

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wider(profile: Profile) -> Profile:
    """Return a profile that takes batches from one to twice the largest."""
    return {
        name: ((min(1, least[0]), *least[1:]), tuple(opt), (2 * most[0], *most[1:]))
        for name, (least, opt, most) in profile.items()
    }
