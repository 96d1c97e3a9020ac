"""A model whose INT8 scales come from a calibrator: what is judged is known once TensorRT has calibrated and built."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from onnx import ModelProto

from pytest_trt.check.feeds import DTYPES
from pytest_trt.check.graph import Graph
from pytest_trt.check.subject import Subject
from pytest_trt.errors import UsageError
from pytest_trt.numerics.formats import Array
from pytest_trt.precision.calibration import Calibration
from pytest_trt.precision.implicit import WEIGHTED, Placement, find_placement, write_placement
from pytest_trt.precision.ranges import Watcher, find_amax
from pytest_trt.precision.sixteen import retype
from pytest_trt.precision.tables import CalibrationTable, tensors_read_in_int8
from pytest_trt.records import MISTRUSTED, VIOLATES, Finding
from pytest_trt.runtime.build import build_plan
from pytest_trt.runtime.calibration import make_calibrator
from pytest_trt.runtime.plan import Plan

TABLE = "calibration-table"
# By method of a `Calibration`: the calibrator of TensorRT that does the like.
ALGORITHMS = {"minmax": "minmax", "entropy": "entropy2", "percentile": "legacy"}


class Calibrated(Subject):
    """A subject of implicit INT8 (TensorRT 8.6 and 10.x): calibrated at its first build, from its own cache after that.

    Parameters
    ----------
    calibration : Calibration
    table : bytes, optional
        A calibration cache to build from, instead of the data.
    *args, **options
        As for `Subject`; there is no plan cache.
    """

    def __init__(
        self, *args: Any, calibration: Calibration, table: bytes | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.calibration = calibration
        self.amax: Mapping[str, float] = {}
        self._written = table

    @cached_property
    def plan(self) -> Plan:
        """The plan, calibrated and built.

        Raises
        ------
        CalibrationError
            The calibrator failed inside of TensorRT, which swallows what it raises.
        """
        data, calibration = Metered(self.prepared.model, self.calibration.data), self.calibration
        made = make_calibrator(
            self.rt,
            data,
            algorithm=ALGORITHMS[calibration.method],
            cache=self._written,
            progress=calibration.progress,
            quantile=calibration.percentile / 100.0,
            inputs=self._inputs(),
        )
        with made as calibrator:
            with calibrator.watched():
                plan = build_plan(
                    self.rt,
                    self.request,
                    calibrator=calibrator.raw,
                    calibration_shapes=calibrator.shapes,
                )
            if self._written is None:
                self._written = calibrator.written
        self.amax = data.amax
        self.calibrated_on = {
            "method": calibration.method,
            "batches": made.batches_given,
            "table": (self._written or b"").split(b"\n", 1)[0].decode("utf-8", "replace"),
        }
        return plan

    def _inputs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return shape, -1 where it is dynamic, and type of what a batch has to hold."""
        source = Graph(self.prepared.model)
        return {
            name: (tuple(d if isinstance(d, int) else -1 for d in shape), DTYPES[kind])
            for name, (kind, shape) in source.inputs.items()
            if kind in DTYPES
        }

    @cached_property
    def table(self) -> CalibrationTable:
        """The calibration table that TensorRT wrote, or was given."""
        assert self.plan is not None
        return CalibrationTable.parse(self._written or b"")

    @cached_property
    def placement(self) -> Placement:
        """Where the layer list shows INT8."""
        return find_placement(self.prepared.model, self.plan.layers)

    @cached_property
    def _as_built(self) -> tuple[Graph, dict[str, np.ndarray]]:
        model, scales = write_placement(self.prepared.model, self.placement, self.table.scales)
        if self.prepared.hybrid != "off":
            model, _ = retype(model, self.prepared.hybrid)
        return Graph(model), scales

    @property
    def graph(self) -> Graph:
        """The typed graph that the check interprets: the float graph with Q/DQ where the engine has INT8."""
        return self._as_built[0]

    @property
    def scales(self) -> dict[str, np.ndarray]:
        """The scales in that graph, by tensor."""
        return self._as_built[1]

    def _sibling(self, profile: Any, outputs: tuple[str, ...], **build: Any) -> Subject:
        assert self.plan is not None  # its table is what siblings are built from
        return Calibrated(
            self.rt,
            self.prepared,
            profile,
            outputs=outputs,
            build={**self._build, **build},
            allow=self.allow,
            calibration=self.calibration,
            table=self._written,
        )

    def again(
        self,
        model: ModelProto | None = None,
        flags: Collection[str] = frozenset(),
        graph: Graph | None = None,
    ) -> Subject:
        """Return the subject once more, built from the table that it has.

        Raises
        ------
        UsageError
            A model is given: it would have to be calibrated.
        """
        if model is not None:
            raise UsageError("an implicit INT8 engine of another model has to be calibrated first")
        made = self._sibling(self.profile, self.outputs)
        made.prepared = replace(made.prepared, flags=made.prepared.flags | frozenset(flags))
        return made


# A table holds float32 scales; inner tensors come from sums in an order of TensorRT's own, and in TF32 where it is on.
TABLE_LIMIT = 2.0**-9


class Metered:
    """Calibration data that are measured while TensorRT takes them, since they may be a generator.

    Attributes
    ----------
    amax : dict of str to float
        Tensor name to the largest finite magnitude so far, by ONNX Runtime in float32.
    """

    def __init__(self, model: ModelProto, data: Iterable[Mapping[str, Array]]) -> None:
        self._model, self._data = model, data
        self.amax: dict[str, float] = {}

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        watcher = Watcher(self._model)
        for feed in self._data:
            for name, values in watcher.watch(feed).items():
                self.amax[name] = max(self.amax.get(name, 0.0), find_amax(values))
            yield feed


def check_calibration(subject: Calibrated) -> Iterator[Finding]:
    """Yield what is wrong with a table and with what the builder made of it.

    A min-max table holds the largest magnitudes of the data; no other algorithm may exceed them. A tensor that an INT8 layer
    would read has a scale, or its layer falls back to floating point. An engine without one INT8 layer did not do what was
    asked, although a weakly typed builder may choose so layer by layer.
    """
    table, placement = subject.table, subject.placement
    # What was zero on all data has no scale: there is nothing to make one from.
    missing = [
        name
        for name in table.missing(tensors_read_in_int8(subject.prepared.model))
        if subject.amax.get(name, 1.0) > 0
    ]
    if missing:
        yield Finding(
            TABLE,
            VIOLATES,
            tensor=missing[0],
            note=f"no scale for tensor {', '.join(map(repr, missing[:5]))}: what reads it cannot be INT8",
        )
    exact = subject.calibration.method == "minmax"
    for name, scale in table.scales.items():
        want = subject.amax.get(name, 0.0) / 127.0
        if want <= np.finfo(np.float32).tiny:
            continue
        ratio = float(scale) / want
        if ratio > 1 + TABLE_LIMIT or (exact and ratio < 1 - TABLE_LIMIT):
            yield Finding(
                TABLE,
                VIOLATES,
                tensor=name,
                note=f"scale {float(scale):.6g} is {ratio:.4g} times what the data give at most, {want:.6g}",
            )
            break
    if placement.untold:
        yield Finding(
            "precision",
            MISTRUSTED,
            note="no layer names these nodes, so nothing tells where INT8 is: "
            + ", ".join(sorted(placement.untold)[:5]),
        )
    graph, kept = subject.prepared.model.graph, subject.prepared.layer_types
    constant = {tensor.name for tensor in graph.initializer}
    could = {
        node.name
        for node in graph.node
        if node.op_type in WEIGHTED
        and node.input[1] in constant
        and node.input[0] in table.scales
        and kept.get(node.name, "int8") == "int8"
    }
    wide = sorted(name for name in could if 0 not in placement.read.get(name, ()))
    if wide and subject.prepared.constraints == "obey":
        yield Finding("precision", VIOLATES, note=f"ordered into int8, but not in it: {', '.join(wide[:5])}")
    elif could and len(wide) == len(could):
        yield Finding(
            "precision", VIOLATES, note="asked for int8, but no convolution or matrix product reads INT8"
        )
