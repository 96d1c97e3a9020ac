"""Runs an engine's arithmetic once and then again with faults, computing anew only what a fault has changed.

The sites are those of a real emulated run, in the same order and with the same fields, so the outputs are the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.builder import precision_of
from pytest_trt.emulator.graph import load
from pytest_trt.emulator.lowering import Policy, Step
from pytest_trt.emulator.program import Arrays, Program
from pytest_trt.emulator.sites import Fault, Faults, absorb, node_fields
from pytest_trt.errors import ExecutionError

Profile = Mapping[str, tuple[tuple[int, ...], ...]]

_COPIED = ("inputs", "outputs", "exact", "scales")


class Replay:
    """A model as an engine that may be run with one fault after the other.

    Parameters
    ----------
    model : ModelProto
        Typed: its tensors have the types that the engine stores. It is copied.
    precision : str
        `tf32` rounds the inputs of float32 products; any other name leaves the graph's types to say all.
    gpu : str
        The GPU class that sites are told.
    profile : mapping of input name to (min, opt, max), optional
        What sites are told; of each input's own shape by default.
    """

    def __init__(
        self, model: onnx.ModelProto, precision: str, gpu: str = "a100", profile: Profile | None = None
    ) -> None:
        own = onnx.ModelProto()
        own.CopyFrom(model)
        self.graph = load(own)
        self.program = Program(self.graph, Policy(tf32=precision == "tf32"), self.graph.outputs)
        self.precision = precision_of(self.program)
        self.gpu = gpu
        self.profile = profile

    def record(self, feeds: Mapping[str, Any], previous: Arrays | None = None) -> Recording:
        """Return an honest run on stored inputs, ready to be repeated with faults.

        Parameters
        ----------
        feeds : mapping of str to ndarray
            As they lie in the engine's buffers: bfloat16 as its 16 bits.
        previous : dict of str to ndarray, optional
            Stored outputs of the context's run before this one.
        """
        return Recording(self, dict(feeds), previous or {})

    def honest(self, feeds: Mapping[str, Any]) -> Arrays:
        """Return the stored outputs of an honest run."""
        return self.record(feeds).outputs


@dataclass(frozen=True)
class _Moment:
    """One step of the honest run: what its site shows, and what it gave (carried)."""

    step: Step
    fields: dict[str, Any]
    outputs: Arrays


class Recording:
    """An honest run whose steps are kept.

    Attributes
    ----------
    outputs : dict of str to ndarray
        Stored; not to be changed.
    """

    def __init__(self, replay: Replay, feeds: Arrays, previous: Arrays) -> None:
        self._replay = replay
        self._feeds = feeds
        self._previous = previous
        program, graph = replay.program, replay.graph
        self._known: Arrays = {
            name: dtypes.to_carried(array, graph.tensor(name).elem) for name, array in feeds.items()
        }
        self._moments: list[_Moment] = []

        def observe(step: Step, given: Arrays, outputs: Arrays, exact: Arrays) -> None:
            self._known.update(outputs)
            self._moments.append(_Moment(step, self._fields(step, given, outputs, exact), dict(outputs)))

        carried = program.run_steps(dict(self._known), observe)
        self._known.update(carried)
        self.outputs = self._stored(carried)
        first = feeds[graph.inputs[0]]
        self._facts: dict[str, Any] = {
            "batch": first.shape[0] if first.ndim else 1,
            "profile": {name: (array.shape,) * 3 for name, array in feeds.items()}
            if replay.profile is None
            else dict(replay.profile),
            "context_id": 1,
            "run_index": 1 if previous else 0,
        }

    def _fields(self, step: Step, given: Arrays, outputs: Arrays, exact: Arrays) -> dict[str, Any]:
        lowered = self._replay.program.lowered
        return node_fields(step, given, outputs, exact, lowered.constants, lowered.elems)

    def _stored(self, carried: Arrays) -> Arrays:
        found = {}
        for name in self._replay.graph.outputs:
            elem = self._replay.graph.tensor(name).elem
            found[name] = np.asarray(dtypes.to_stored(carried[name], elem), dtypes.storage_of(elem))
        return found

    def faulty(self, fault: Fault, seed: int = 0) -> Arrays:
        """Return the stored outputs with a fault; the honest ones (`outputs` itself) where it changes no bit.

        Raises
        ------
        ExecutionError
            The fault made the enqueue fail.
        UsageError
            It gave an output another shape or dropped one.
        """
        replay = self._replay
        faults = Faults([fault], replay.gpu, seed)
        changed: Arrays = {}
        marked = frozenset(replay.graph.outputs) - replay.graph.own_outputs
        for moment in self._moments:
            step, outputs = moment.step, moment.outputs
            anew = bool(changed) and any(name in changed for name in step.reads)
            if anew:
                inputs = {name: self._value(name, changed) for name in step.reads}
                outputs, exact = replay.program._run_step(step, inputs)
                fields = self._fields(step, inputs, outputs, exact)
                shown = {name: np.array(array) for name, array in fields["outputs"].items()}
            else:
                fields = _copied(moment.fields)
                shown = moment.fields["outputs"]
            site, _ = faults.visit("node", step.working, marked_outputs=marked, **fields, **self._facts)
            touched = any(not _is_same(site.outputs.get(name), array) for name, array in shown.items())
            if not touched and not anew:
                continue
            outputs = dict(outputs)
            if touched:
                absorb(site, step, outputs)
            for name, array in outputs.items():
                if _is_same(array, moment.outputs[name]):
                    changed.pop(name, None)
                else:
                    changed[name] = array
        honest = not any(name in changed for name in replay.graph.outputs)
        before = self.outputs
        if not honest:
            before = self._stored({name: self._value(name, changed) for name in replay.graph.outputs})
        site, answers = faults.visit(
            "execute",
            replay.precision,
            inputs={name: array.copy() for name, array in self._feeds.items()},
            outputs={name: array.copy() for name, array in before.items()},
            previous_outputs={name: array.copy() for name, array in self._previous.items()},
            thread_id=threading.get_ident(),
            stream=0,
            **self._facts,
        )
        if any(answer is False for answer in answers):
            raise ExecutionError("the enqueue failed", why="a fault returned False at execute")
        found = {
            name: np.asarray(site.outputs[name], array.dtype).reshape(array.shape)
            for name, array in before.items()
        }
        if all(_is_same(found[name], array) for name, array in self.outputs.items()):
            return self.outputs
        return found

    def _value(self, name: str, changed: Arrays) -> Any:
        for table in (changed, self._known):
            if name in table:
                return table[name]
        return self._replay.program.lowered.constants.array(name)


def _copied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a site with arrays that a fault may change."""
    found = dict(fields)
    found["attributes"] = dict(fields["attributes"])
    for table in _COPIED:
        found[table] = {name: np.array(array) for name, array in fields[table].items()}
    return found


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two arrays hold the same bits."""
    if one is other:
        return True
    if one is None or np.shape(one) != other.shape:
        return False
    given = np.asarray(one)
    return bool(given.dtype == other.dtype and given.tobytes() == other.tobytes())
