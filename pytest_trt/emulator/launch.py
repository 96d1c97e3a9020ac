"""One run of an engine: read the inputs, compute, write the outputs; with faults and timing step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.clock import modelled_seconds
from pytest_trt.emulator.core import Core
from pytest_trt.emulator.device import Device
from pytest_trt.emulator.lowering import Step
from pytest_trt.emulator.program import Foreign
from pytest_trt.emulator.sites import Faults, absorb, node_fields
from pytest_trt.errors import ExecutionError

Arrays = dict[str, NDArray[Any]]


@dataclass
class Result:
    """What a run gave: stored inputs and outputs, carried debug tensors, seconds by node name."""

    inputs: Arrays
    outputs: Arrays
    debug: Arrays = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def total_seconds(self, rows: list[dict[str, Any]]) -> float:
        """Return what the layers took together."""
        return sum(self.seconds.get(row["name"], 0.0) for row in rows)

    def layer_times(self, rows: list[dict[str, Any]]) -> list[tuple[str, float]]:
        """Return (layer name, milliseconds) in the order of the layers."""
        return [(row["name"], 1e3 * self.seconds.get(row["name"], 0.0)) for row in rows]

    def debug_stored(self, name: str, elem: int) -> NDArray[Any]:
        """Return a debug tensor as it is stored."""
        return dtypes.to_stored(self.debug[name], elem)


@dataclass
class Launch:
    """A run whose addresses and shapes are settled.

    Attributes
    ----------
    core : Core
        The engine.
    device : Device
        Where the buffers are.
    inputs : mapping of str to (int, tuple of int)
        Address and shape of each input.
    outputs : mapping of str to tuple of int
        Shape of each output, -1 where it depends on values.
    addresses : dict of str to int
        Of every input and output that has one.
    stream : int
        Where it is enqueued.
    is_modelled : bool
        It moves the modelled time of its stream on, and its layers take modelled time.
    must_wait : bool
        The run is computed when it is enqueued, since its result decides what the enqueue answers or whom it calls; its
        outputs are still written only when the stream gets there.
    consumed : callable, optional
        Called once the inputs have been read.
    foreign : Foreign, optional
        Runs the plugins of the context.
    event : int
        Handle of the event that `consumed` fires, 0 for none.
    held : dict
        What the device keeps for the context from one run to the next.
    """

    core: Core
    device: Device
    inputs: Mapping[str, tuple[int, tuple[int, ...]]]
    outputs: Mapping[str, tuple[int, ...]]
    addresses: dict[str, int]
    stream: int = 0
    is_modelled: bool = False
    must_wait: bool = False
    consumed: Callable[[], None] | None = None
    foreign: Foreign | None = None
    event: int = 0
    held: dict[str, Any] = field(default_factory=dict)

    def _read(self) -> Arrays:
        inputs = {
            name: self.device.read(address, self.core.ports[name].kind, shape)
            for name, (address, shape) in self.inputs.items()
        }
        if self.consumed is not None:
            self.consumed()
        return inputs

    def compute(self) -> Result:
        """Return the outputs for what lies in the input buffers now."""
        if self.is_modelled and self._shapes not in self.core.run_seconds:
            result = self.compute_observed(None, {}, True)  # the same bits, step by step
            if not any(-1 in shape for shape in self.outputs.values()):
                self.core.run_seconds[self._shapes] = result.total_seconds(self.core.settings["layers"])
            return result
        inputs = self._read()
        return Result(inputs, self.core.run(inputs, self.foreign))

    def work(self, addresses: Mapping[str, int]) -> Callable[[], None]:
        """Return the work to enqueue: compute and write."""

        def run() -> None:
            self.publish(self.compute(), addresses)

        return run

    def publish(self, result: Result, addresses: Mapping[str, int]) -> None:
        """Write the outputs, and let modelled time pass.

        Raises
        ------
        ExecutionError
            An output has another shape than was promised.
        """
        for name, array in result.outputs.items():
            promised = self.outputs[name]
            if -1 not in promised and array.shape != promised:
                raise ExecutionError(
                    f"output {name!r} has shape {array.shape}, the context promised {promised}",
                    mend="this is a bug of the emulator: please report the model",
                )
            if array.size:
                self.device.write(addresses[name], self._written(addresses[name], array))
        if self.is_modelled:
            self.device.spend(self.stream, self._modelled_seconds(result))

    def _modelled_seconds(self, result: Result) -> float:
        if result.seconds:
            return result.total_seconds(self.core.settings["layers"])
        return self.core.run_seconds.get(self._shapes, 0.0)

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(shape for _, shape in self.inputs.values())

    def _written(self, address: int, array: NDArray[Any]) -> NDArray[Any]:
        """Return what an output buffer holds after a run: masked elements, which a fault left alone, stay as they were."""
        if isinstance(array, np.ma.MaskedArray):
            there = self.device.read(address, array.dtype, array.shape)
            array = np.where(np.ma.getmaskarray(array), there, np.ma.getdata(array))
        return np.ascontiguousarray(array)

    def compute_observed(self, faults: Faults | None, facts: Mapping[str, Any], timing: bool) -> Result:
        """Return the outputs, each node a site for the faults, and the time of each node if asked or modelled."""
        inputs = self._read()
        result = Result(inputs, {})
        # A debug tensor that was marked by name is kept, as an output is; unfused ones are seen as they come.
        marked = self.core.marked | frozenset(self.core.settings["debug"])
        program = self.core.stepping
        last = time.perf_counter()

        def observe(step: Step, given: Arrays, outputs: Arrays, exact: Arrays) -> None:
            nonlocal last
            if faults:
                fields = node_fields(
                    step, given, outputs, exact, program.lowered.constants, program.lowered.elems
                )
                site, _ = faults.visit("node", step.working, marked_outputs=marked, **fields, **facts)
                absorb(site, step, outputs)
            if timing or self.is_modelled:
                # A fault stands for another kernel, so what it takes is time of the node.
                measured = time.perf_counter() - last
                seconds = modelled_seconds(step, given, outputs) if self.is_modelled else measured
                if faults:
                    told = {"node_name": step.node.name, "op_type": step.node.op_type, "failed": False}
                    seconds = faults.timed(step.working, seconds, **told, **facts)
                result.seconds[step.node.name] = result.seconds.get(step.node.name, 0.0) + seconds
            last = time.perf_counter()

        result.outputs, result.debug = self.core.run_observed(inputs, observe, self.foreign)
        return result
