"""The check of one model, end to end: prepare, build, run on data, judge, relate, tell."""

from __future__ import annotations

import difflib
import warnings
import weakref
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pytest_trt.check import tell
from pytest_trt.check.calibrated import Calibrated
from pytest_trt.check.compare import compare
from pytest_trt.check.conclude import conclude, replay_line
from pytest_trt.check.examine import Examiner
from pytest_trt.check.feeds import (
    Profile,
    check_feeds,
    check_profile,
    describe_profile,
    draw_feeds,
    profile_for,
    scale_of,
    shapes_for,
)
from pytest_trt.check.graph import Graph, load_model
from pytest_trt.check.limits import OutputLimits
from pytest_trt.check.make import DRAWN_RANGE, Maker
from pytest_trt.check.proving import prove_precision
from pytest_trt.check.recall import Recall
from pytest_trt.check.relate import Relations, relate
from pytest_trt.check.subject import BUILD_OPTIONS, Subject
from pytest_trt.check.tactics import rungs_of
from pytest_trt.errors import (
    RuntimeMissingError,
    SuspiciousWarning,
    UsageError,
)
from pytest_trt.numerics.battery import Scale, kinds_for
from pytest_trt.numerics.formats import Array
from pytest_trt.records import (
    SUSPICIOUS,
    Settings,
    Tolerance,
    Verdict,
)
from pytest_trt.runtime.load import Discovery, Runtime
from pytest_trt.runtime.session import Session


class Workbench:
    """Everything that a session of checks shares: settings, runtimes, the plan cache.

    Parameters
    ----------
    settings : Settings
    discovery : Discovery
        Who executes and who builds.
    """

    def __init__(self, settings: Settings, discovery: Discovery) -> None:
        self.settings = settings
        self.discovery = discovery
        self.recall = Recall()
        self._maker = Maker(settings)
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()

    @property
    def executor(self) -> Runtime:
        """Who executes.

        Raises
        ------
        RuntimeMissingError
            Nobody does (`--trt-runtime=off`, or a TensorRT without a GPU).
        """
        if self.discovery.executor is None:
            raise RuntimeMissingError(
                "no TensorRT executes here",
                why=[m.reason for m in self.discovery.missing],
                mend="--trt-runtime=emulator",
            )
        return self.discovery.executor

    def is_strong(self, rt: Runtime, precision: str = "fp32") -> bool:
        """Tell whether networks are strongly typed under these settings on a runtime."""
        return self._maker.is_strong(rt, precision)

    def subject(
        self,
        model: Any,
        precision: str,
        profile: Profile | None = None,
        *,
        calibration: Iterable[Mapping[str, Array]] | None = None,
        rt: Runtime | None = None,
        **build: Any,
    ) -> Subject:
        """Return a model ready to be built and run.

        Raises
        ------
        ModelError, InputError, PrecisionError
        UsageError
            `build` names no field of `BuildRequest`, or one that the precision decides.
        """
        rt = rt or self.executor
        for name in build.keys() - BUILD_OPTIONS:
            near = difflib.get_close_matches(name, BUILD_OPTIONS, n=1)
            raise UsageError(
                f"a build has no option {name!r}",
                why=f"good ones: {', '.join(sorted(BUILD_OPTIONS))}",
                mend=f"did you mean {near[0]!r}?" if near else None,
            )
        graph = Graph(load_model(model))
        profile = check_profile(graph, profile)
        if profile is None and graph.dynamic:
            shapes_for(graph, None, None)  # says which input lacks a size, and how to give it
        made, _ = self._maker.make(rt, graph, precision, profile, calibration=calibration, build=build)
        return made

    def engine(self, model: Any, precision: str, profile: Profile | None = None) -> Any:
        """Return a raw engine."""
        return self.subject(model, precision, profile).engine

    def build(self, model: Any, precision: str, profile: Profile | None = None, **build: Any) -> Any:
        """Return a raw engine, from the plan cache or built; `build` holds further fields of `BuildRequest`."""
        return self.subject(model, precision, profile, **build).engine

    def session(self, model: Any, precision: str, profile: Profile | None = None, **build: Any) -> Session:
        """Return a session: engine, context, buffers and stream; closed with the workbench where the caller does not."""
        subject = self.subject(model, precision, profile, **build)
        session = Session(subject.rt, subject.engine)
        self._sessions.add(session)
        return session

    def limits(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        precision: str,
        profile: Profile | None = None,
        *,
        calibration: Iterable[Mapping[str, Array]] | None = None,
        **build: Any,
    ) -> OutputLimits:
        """Return the limits of the outputs that `session` with the same arguments gives for these inputs.

        The caller closes the subject of the limits where it was run: `limits.subject.close()`.

        Raises
        ------
        ModelError, InputError, ProfileError, PrecisionError
        """
        graph = Graph(load_model(model))
        feeds = check_feeds(graph, inputs)
        wanted = profile_for(graph, {n: v.shape for n, v in feeds.items()}, check_profile(graph, profile))
        subject = self.subject(model, precision, wanted, calibration=calibration, **build)
        subject.prepared.demand_accurate()
        return OutputLimits(subject, feeds, self.settings.rungs)

    def check(
        self,
        model: Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        precision: str,
        profile: Profile | None = None,
        calibration: Iterable[Mapping[str, Any]] | None = None,
        tolerance: Tolerance | None = None,
        data: Sequence[str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        drawn: bool = False,
        label: str = "",
        fallback: bool = False,
        replay: str = "",
        layer_types: Mapping[str, str] | None = None,
    ) -> Verdict:
        """Return the verdict on one model: the whole conformance check.

        Parameters
        ----------
        model : path, bytes or onnx.ModelProto
        inputs : mapping of name to array, optional
            Exactly these are run; default: the data battery.
        precision : str
        profile : mapping of name to (min, opt, max) shapes, optional
        calibration : Calibration or iterable of input mappings, optional
            Where INT8 scales come from, by min-max unless it says otherwise; default: the inputs.
        tolerance : Tolerance, optional
            Replaces the derived limits.
        data : sequence of str, optional
            Data kinds; default: those of the settings.
        shapes : mapping of name to shape, optional
            Input shapes for the battery; default: the profile's opt.
        drawn : bool
            The data were drawn from the battery: statistical findings then fail too.
        label : str
            How to name the model in messages.
        fallback : bool
            This TensorRT is known to run the model in FP32 instead: the proof of precision is not asked for.
        replay : str
            Start of the command that repeats the check, before its options; default: the case `label` in the suites.
        layer_types : mapping of str to str, optional
            Weak typing: layer name to the type that it keeps, `fp32` for instance.

        Raises
        ------
        ConformanceError
            The verdict does not pass.
        UnsupportedError
            TensorRT refused to build the model.
        ModelError, InputError, ProfileError, PrecisionError
            What was given cannot be used.
        """
        __tracebackhide__ = True
        verdict = self.judge(
            model,
            inputs,
            precision=precision,
            profile=profile,
            calibration=calibration,
            tolerance=tolerance,
            data=data,
            shapes=shapes,
            label=label,
            fallback=fallback,
            replay=replay,
            layer_types=layer_types,
        )
        if not verdict.passed:
            if verdict.status == SUSPICIOUS and not drawn:
                warnings.warn(SuspiciousWarning(tell.summary(verdict)), stacklevel=2)
            else:
                raise tell.failure(verdict, replay_line(verdict, self.settings))
        return verdict

    def judge(
        self,
        model: Any,
        inputs: Mapping[str, Any] | None = None,
        *,
        precision: str,
        profile: Profile | None = None,
        calibration: Iterable[Mapping[str, Any]] | None = None,
        tolerance: Tolerance | None = None,
        data: Sequence[str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        label: str = "",
        fallback: bool = False,
        replay: str = "",
        layer_types: Mapping[str, str] | None = None,
    ) -> Verdict:
        """Return the verdict as `check` does, also when it does not pass."""
        rt = self.executor
        source = Graph(load_model(model))
        given = None if inputs is None else check_feeds(source, inputs)
        profile = check_profile(source, profile)
        sizes = (
            {n: v.shape for n, v in given.items()}
            if given is not None
            else shapes_for(source, shapes, profile)
        )
        profile = profile_for(source, sizes, profile)
        made, ranges = self._maker.make(
            rt,
            source,
            precision,
            profile,
            given=given,
            calibration=calibration,
            sizes=sizes,
            build={"layer_types": layer_types} if layer_types else None,
        )
        kinds = ("given",) if given is not None else kinds_for(precision, data or self.settings.data)
        if not kinds:
            raise UsageError("no data kind is left to run", why=f"asked for {data}, at {precision}")
        with made as subject:
            if isinstance(subject, Calibrated):
                ranges = {name: 127.0 * float(scale) for name, scale in subject.table.scales.items()}
            rungs = rungs_of(subject.plan.layers, self.settings.rungs, asked="rungs" in self.settings.given)
            examiner = Examiner(subject, source, rungs, tolerance, self.recall)
            proof = None if fallback else prove_precision(subject, examiner)
            scale = scale_of(source) if given is None else Scale()
            seed = zlib.crc32(label.encode()) if label else int(source.digest[:8], 16)
            try:
                for position, kind in enumerate(kinds):
                    feeds = given
                    if feeds is None:
                        rng = np.random.default_rng([*self._maker.seed, seed, zlib.crc32(kind.encode())])
                        feeds = draw_feeds(source, sizes, kind, precision, scale, ranges, rng)
                    examiner.look(feeds, kind, relations=position == 0)
                examiner.distrust()
            finally:
                examiner.close()
        return conclude(
            examiner,
            rt,
            data=tuple(kinds),
            seed=self.settings.seed,
            profile=describe_profile(profile),
            label=label,
            replay=replay,
            **({} if proof is None else {"ran": dict(proof.ran), "loosest": proof.loosest}),
        )

    def relate(
        self,
        model: Any,
        relations: Relations,
        *,
        precision: str,
        data: Sequence[str],
        profile: Profile | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        label: str = "",
        replay: str = "",
        **build: Any,
    ) -> Verdict:
        """Return the verdict on relations that take several contexts or engines.

        Parameters
        ----------
        model : path, bytes or onnx.ModelProto
        relations : callable
            For instance `check.concurrent.check_contexts` or `check.rebuild.check_rebuild`.
        data : sequence of str
            The data kind of each run that they start from; no two get the same numbers.
        precision, profile, shapes, label, replay
            As for `check`; `build` holds further fields of `BuildRequest`.

        Raises
        ------
        ConformanceError
            A relation is broken, or a run is wrong by itself.
        ExecutionError
            TensorRT reported a failure, such as an enqueue that it refused.
        """
        __tracebackhide__ = True
        source = Graph(load_model(model))
        profile = check_profile(source, profile)
        sizes = shapes_for(source, shapes, profile)
        profile = profile_for(source, sizes, profile)
        reach = dict.fromkeys(source.inputs, DRAWN_RANGE) if precision == "int8" else {}
        seed = zlib.crc32(label.encode()) if label else int(source.digest[:8], 16)
        feeds = []
        for place, kind in enumerate(data):
            rng = np.random.default_rng([*self._maker.seed, seed, zlib.crc32(kind.encode()), place])
            feeds.append(draw_feeds(source, sizes, kind, precision, scale_of(source), reach, rng))
        with self.subject(source.model, precision, profile, **build) as subject:
            subject.prepared.demand_accurate()
            rungs = rungs_of(subject.plan.layers, self.settings.rungs, asked="rungs" in self.settings.given)
            examiner = Examiner(subject, source, rungs)
            relate(examiner, feeds, data, relations)
            verdict = conclude(
                examiner,
                subject.rt,
                data=tuple(data),
                seed=self.settings.seed,
                profile=describe_profile(profile),
                label=label,
                replay=replay,
            )
        if not verdict.passed:
            raise tell.failure(verdict, replay_line(verdict, self.settings))
        return verdict

    def compare(self, got: Any, want: Any, *, limit: Any) -> Verdict:
        """Return the numeric judgement alone.

        Parameters
        ----------
        got, want : array-like of one shape
        limit : float or array-like, or (low, high)
            Largest absolute difference; or the ends of the admissible interval themselves.

        Raises
        ------
        ConformanceError
            A value lies outside.
        UsageError
            Shapes differ, or there is nothing to compare.
        """
        __tracebackhide__ = True
        return compare(got, want, limit)

    def close(self) -> None:
        """Release what the workbench holds and close its sessions; engines are their callers'."""
        for session in list(self._sessions):
            session.close()
        self._maker.close()
