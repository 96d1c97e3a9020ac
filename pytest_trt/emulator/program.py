"""Runs a lowered graph with ONNX Runtime: all of it in one session, or step by step, with the same bits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, ValueInfoProto, helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.graph import Graph, is_plugin
from pytest_trt.emulator.lowering import Lowered, Policy, Step, lower

Arrays = dict[str, NDArray[Any]]


# Sees each step of a run: what it read, what it gave (carried; may be changed), and that before rounding.
Observer = Callable[[Step, Arrays, Arrays, Arrays], None]
# Runs a step that ONNX Runtime cannot: a plugin.
Foreign = Callable[[Step, Arrays], Arrays]


def session_options() -> ort.SessionOptions:
    """Return the options of every session: one thread, nothing rewritten, so that runs repeat bit for bit."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return options


def cpu_session(model: ModelProto | bytes) -> ort.InferenceSession:
    """Return a session on the CPU, for a model or its bytes."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(data, session_options(), providers=["CPUExecutionProvider"])


class Program:
    """An engine's arithmetic.

    Parameters
    ----------
    graph : Graph
        The typed graph.
    policy : Policy
        How floats are computed.
    outputs : sequence of str
        Tensors to compute.
    session : callable, optional
        Makes a session from a model or its bytes; on the CPU by default.
    compiled : bytes
        The lowered model, where it is known already.
    """

    def __init__(
        self,
        graph: Graph,
        policy: Policy,
        outputs: Sequence[str],
        session: Callable[[ModelProto | bytes], ort.InferenceSession] = cpu_session,
        compiled: bytes = b"",
    ) -> None:
        self._graph = graph
        self._outputs = list(outputs)
        self._make = session
        self._policy = policy
        self._compiled = compiled
        self._lock = threading.Lock()
        self._whole: ort.InferenceSession | None = None
        self._reads: list[str] = []
        self._single: dict[tuple[Any, ...], ort.InferenceSession] = {}

    @cached_property
    def lowered(self) -> Lowered:
        """The steps, their constants and types."""
        return lower(self._graph, self._policy, self._outputs)

    @cached_property
    def must_step(self) -> bool:
        """True where one session cannot do it: TF32 rounds the inputs of single steps, plugins run on their own."""
        return not self._compiled and any(
            step.rounds_inputs or is_plugin(step.node) for step in self.lowered.steps
        )

    @property
    def steps(self) -> list[Step]:
        """The steps in order, rounding of inputs first."""
        return [*self.lowered.entry, *self.lowered.steps]

    def elem(self, name: str) -> int:
        """Return the ONNX element type in which a tensor is stored; 0 if unknown."""
        return self.lowered.elems.get(name, 0)

    def _model(self, graph: GraphProto) -> ModelProto:
        source = self._graph.model
        model = ModelProto()
        model.graph.CopyFrom(graph)
        model.ir_version = source.ir_version
        model.opset_import.extend(source.opset_import)
        return model

    def whole_model(self) -> ModelProto:
        """Return the lowered graph as one ONNX model; its inputs and outputs are carried tensors."""
        if self._compiled:
            model = ModelProto()
            model.ParseFromString(self._compiled)
            return model
        nodes = [node for step in self.steps for node in step.nodes]
        reads = list(dict.fromkeys(name for step in self.steps for name in step.reads))
        constants = self.lowered.constants.protos(list(dict.fromkeys([*reads, *self._outputs])))
        inputs = []
        for name in self._graph.inputs:
            info = self._graph.tensor(name)
            shape = None if info.dims is None else list(info.dims)
            inputs.append(helper.make_tensor_value_info(name, dtypes.carried_elem(info.elem), shape))
        graph = helper.make_graph(
            nodes, "emulated", inputs, [_untyped(name) for name in self._outputs], initializer=constants
        )
        return self._model(graph)

    def whole_session(self) -> ort.InferenceSession:
        """Return the session of the whole graph; it is made once and may be run by several threads."""
        found = self._whole
        if found is not None:
            return found
        with self._lock:
            if self._whole is None:
                made = self._make(self._compiled or self.whole_model())
                self._reads = [value.name for value in made.get_inputs()]
                self._whole = made
            return self._whole

    def run(self, feeds: Mapping[str, NDArray[Any]], foreign: Foreign | None = None) -> Arrays:
        """Return the outputs for these inputs, all carried, in one session; step by step where that must be."""
        if self.must_step:
            return self.run_steps(feeds, foreign=foreign)
        session = self.whole_session()
        values = session.run(self._outputs, {name: feeds[name] for name in self._reads})
        return dict(zip(self._outputs, values, strict=True))

    def run_steps(
        self,
        feeds: Mapping[str, NDArray[Any]],
        observe: Observer | None = None,
        foreign: Foreign | None = None,
    ) -> Arrays:
        """Return the outputs for these inputs, all carried, one session a step.

        Parameters
        ----------
        feeds : mapping of str to ndarray
            Graph inputs.
        observe : Observer, optional
            Called after each step; what it leaves in `outputs` is what later steps read.
        foreign : Foreign, optional
            Runs the plugins; needed where there are some.
        """
        known: Arrays = dict(feeds)
        last: dict[str, int] = {}
        for position, step in enumerate(self.steps):
            for name in step.reads:
                last[name] = position
        for position, step in enumerate(self.steps):
            inputs = {name: self._value(name, known) for name in step.reads}
            if foreign is not None and is_plugin(step.node):
                outputs: Arrays = foreign(step, inputs)
                exact: Arrays = {}
            else:
                outputs, exact = self._run_step(step, inputs)
            if observe is not None:
                observe(step, inputs, outputs, exact)
            known.update(outputs)
            for name in step.reads:
                if last[name] == position and name not in self._outputs:
                    known.pop(name, None)
        return {name: self._value(name, known) for name in self._outputs}

    def _value(self, name: str, known: Arrays) -> NDArray[Any]:
        return known[name] if name in known else self.lowered.constants.array(name)

    def _run_step(self, step: Step, inputs: Arrays) -> tuple[Arrays, Arrays]:
        if step.rounds_inputs:
            operands = step.node.input[:2]
            inputs = {
                name: dtypes.round_tf32(value) if name in operands and value.dtype == np.float32 else value
                for name, value in inputs.items()
            }
        kinds = tuple((name, value.dtype.str, value.ndim) for name, value in inputs.items())
        key = (step.node.output[0], step.node.name, kinds)
        session = self._single.get(key)
        if session is None:
            session = self._make(self._step_model(step, inputs))
            self._single[key] = session
        constants = {value.name for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        feeds = {name: np.ascontiguousarray(inputs[name]).reshape(inputs[name].shape) for name in constants}
        found = dict(zip(names, session.run(names, feeds), strict=True))
        outputs = {name: found[name] for name in step.node.output if name}
        return outputs, {name: found[source] for name, source in step.exact.items() if source in found}

    def _step_model(self, step: Step, inputs: Arrays) -> ModelProto:
        fixed = [] if step.rounds_inputs else [name for name in inputs if name in self.lowered.constants]
        values = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim
            )
            for name, array in inputs.items()
            if name not in fixed
        ]
        made = {name for node in step.nodes for name in node.output}
        wanted = [name for name in step.node.output if name]
        wanted += [source for source in step.exact.values() if source in made]
        graph = helper.make_graph(
            step.nodes,
            "step",
            values,
            [_untyped(name) for name in wanted],
            initializer=self.lowered.constants.protos(fixed),
        )
        return self._model(graph)


def _untyped(name: str) -> ValueInfoProto:
    value = ValueInfoProto()
    value.name = name
    return value


__all__ = ["Arrays", "Foreign", "Observer", "Program", "cpu_session", "session_options"]
