"""An engine without its Python surface: plan, graph, program, shapes; shared by all contexts of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.builder import policy_of
from pytest_trt.emulator.graph import UNKNOWN, Graph, infer, load
from pytest_trt.emulator.plan import Plan
from pytest_trt.emulator.plugins_life import load as load_plugins
from pytest_trt.emulator.plugins_life import own
from pytest_trt.emulator.plugins_network import concrete
from pytest_trt.emulator.program import Arrays, Foreign, Observer, Program

if TYPE_CHECKING:
    from pytest_trt.emulator.host import Host

# Their output shapes follow from values, not from shapes.
_DATA_DEPENDENT = frozenset(("NonZero", "NonMaxSuppression", "Unique", "Compress"))
# Their operands whose values say how large the output is.
_SHAPE_OPERANDS = {
    name: slice(1, 2)
    for name in ("Expand", "OneHot", "Reshape", "Split", "Squeeze", "Tile", "TopK", "Unsqueeze", "Upsample")
} | {
    "ConstantOfShape": slice(0, 1),
    "Loop": slice(0, 2),
    "Pad": slice(1, 2),
    "Range": slice(0, 3),
    "Resize": slice(2, 4),
    "Slice": slice(1, 5),
}


@dataclass(frozen=True)
class Port:
    """An input or output of an engine.

    Attributes
    ----------
    name : str
        Of the tensor.
    is_input : bool
        Which of the two it is.
    elem : int
        ONNX element type in which the buffer is laid out.
    native : int
        ONNX element type of the tensor in the graph.
    shape : tuple of int
        Dimensions, -1 for a dynamic one.
    """

    name: str
    is_input: bool
    elem: int
    native: int
    shape: tuple[int, ...]

    @cached_property
    def kind(self) -> np.dtype[Any]:
        """The numpy type of the buffer."""
        return dtypes.storage_of(self.elem)


class Core:
    """What `ICudaEngine` and its contexts share.

    Parameters
    ----------
    host : Host
        The module.
    plan : Plan
        Already checked for this version and device.
    """

    def __init__(self, host: Host, plan: Plan) -> None:
        self.host = host
        self.plan = plan
        self.number = next(host.engine_numbers)
        model = onnx.ModelProto()
        model.ParseFromString(plan.model)
        self.graph: Graph = load(model)
        self.graph.outputs = list(plan.settings["outputs"])
        self._lock = threading.Lock()
        self._program: Program | None = None
        self._wide: Program | None = None
        self._shapes: dict[tuple[Any, ...], dict[str, tuple[int, ...]]] = {}
        self.run_seconds: dict[
            tuple[tuple[int, ...], ...], float
        ] = {}  # modelled time of a run by input shapes
        self.users: dict[int, int] = {}  # context number to profile in use, for 8.6
        self.ports = self._make_ports()
        self.plugins = load_plugins(host, self.recipes)
        own(self, self.plugins.values())

    @property
    def recipes(self) -> dict[str, Any]:
        """What the plan says of each plugin, by layer."""
        found: dict[str, Any] = self.plan.settings.get("plugins", {})
        return found

    def _make_ports(self) -> dict[str, Port]:
        override = self.plan.settings["io_types"]
        found = {}
        for is_input, names in ((True, self.graph.inputs), (False, self.graph.outputs)):
            for name in names:
                info = self.graph.tensor(name)
                found[name] = Port(name, is_input, override.get(name, info.elem), info.elem, info.shape)
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The plan's settings."""
        return self.plan.settings

    @property
    def profiles(self) -> list[dict[str, Any]]:
        """(min, opt, max) by input name, one table a profile."""
        found: list[dict[str, Any]] = self.plan.settings["profiles"]
        return found

    @property
    def marked(self) -> frozenset[str]:
        """Outputs that were marked besides the model's own."""
        return frozenset(self.graph.outputs) - frozenset(self.settings["own_outputs"])

    @property
    def inputs(self) -> list[Port]:
        """The inputs in order."""
        return [self.ports[name] for name in self.graph.inputs]

    @property
    def outputs(self) -> list[Port]:
        """The outputs in order."""
        return [self.ports[name] for name in self.graph.outputs]

    @property
    def debug_names(self) -> list[str]:
        """Tensors that a debug listener can see."""
        names = list(self.settings["debug"])
        if self.settings["unfused"]:
            names += [name for row in self.settings["layers"] for name, *_ in row["outputs"]]
        return list(dict.fromkeys(names))

    def program(self) -> Program:
        """Return the arithmetic of the engine; made on first use."""
        found = self._program
        if found is not None:  # without the lock: every run of every thread comes by here
            return found
        with self._lock:
            if self._program is None:
                policy = policy_of(self.settings)
                self._program = Program(
                    self.graph, policy, self.graph.outputs, self.host.device.session, self.plan.compiled
                )
            return self._program

    def _stepping(self) -> Program:
        """Return a program for running step by step: on the CPU, and with the debug tensors kept."""
        with self._lock:
            if self._wide is None:
                names = list(dict.fromkeys([*self.graph.outputs, *self.debug_names]))
                self._wide = Program(self.graph, policy_of(self.settings), names)
            return self._wide

    def carried(self, stored: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return stored inputs as they are carried."""
        return {name: dtypes.to_carried(array, self.ports[name].elem) for name, array in stored.items()}

    def stored(self, carried: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return carried outputs as they are stored."""
        found = {}
        for port in self.outputs:
            array = carried[port.name]
            found[port.name] = np.asarray(dtypes.to_stored(array, port.elem), port.kind)
        return found

    def run(self, stored: Mapping[str, NDArray[Any]], foreign: Foreign | None = None) -> Arrays:
        """Return the stored outputs for stored inputs; `foreign` runs the plugins."""
        return self.stored(self.program().run(self.carried(stored), foreign))

    def run_observed(
        self, stored: Mapping[str, NDArray[Any]], observe: Observer, foreign: Foreign | None = None
    ) -> tuple[Arrays, Arrays]:
        """Return stored outputs and carried debug tensors, each step shown to `observe`."""
        carried = self._stepping().run_steps(self.carried(stored), observe, foreign)
        shown = {name: carried[name] for name in self.debug_names if name in carried}
        doubles = {
            name: array.astype(np.float32) for name, array in shown.items() if array.dtype == np.float64
        }
        return self.stored(carried), shown | doubles  # TensorRT has no double: such tensors are told in float

    @property
    def stepping(self) -> Program:
        """The program that `run_observed` uses."""
        return self._stepping()

    def output_shapes(self, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return the shape of each output for input shapes, -1 where it depends on values."""
        if not any(UNKNOWN in port.shape or not self._is_static(port) for port in self.outputs):
            return {port.name: port.shape for port in self.outputs}
        key = tuple(inputs[port.name] for port in self.inputs)
        if key not in self._shapes:
            self._shapes[key] = self._resolve(inputs)
        return self._shapes[key]

    def _is_static(self, port: Port) -> bool:
        return self.graph.tensor(port.name).dims is not None

    def _resolve(self, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        symbols: dict[str, int] = {}
        for name, shape in inputs.items():
            for dim, size in zip(self.graph.tensor(name).dims or (), shape, strict=False):
                if isinstance(dim, str):
                    symbols[dim] = size
        known: dict[str, tuple[int, ...]] = {}
        for port in self.outputs:
            dims = self.graph.tensor(port.name).dims
            if dims is not None and all(isinstance(d, int) or d in symbols for d in dims):
                known[port.name] = tuple(d if isinstance(d, int) else symbols[str(d)] for d in dims)
        if len(known) == len(self.outputs):
            return known
        recipes = self.recipes
        model = self.graph.model
        inferred = concrete(model, recipes, inputs) if recipes else infer(model, inputs)
        for port in self.outputs:
            info = inferred[port.name]
            if port.name not in known and not info.is_dynamic:
                known[port.name] = info.shape
        if len(known) < len(self.outputs):
            known.update(self._tried(inputs, known))
        return known

    def _tried(
        self, inputs: Mapping[str, tuple[int, ...]], known: Mapping[str, tuple[int, ...]]
    ) -> dict[str, tuple[int, ...]]:
        """Run on zeros to learn the shapes; where they follow from values they stay unknown."""
        data = any(node.op_type in _DATA_DEPENDENT for node in self.graph.nodes)
        if data or self.recipes or self._shaped_by_inputs():
            return self._open_ended(known)
        zeros = {port.name: np.zeros(inputs[port.name], port.kind) for port in self.inputs}
        try:
            return {name: array.shape for name, array in self.run(zeros).items()}
        except Exception:
            # ONNX Runtime has a class per error. It refuses zeros where a value is a size or a step.
            return self._open_ended(known)

    def _open_ended(self, known: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the other outputs with -1 where values decide; of an unknown rank nothing else is known."""
        return {
            port.name: port.shape if self._is_static(port) else (UNKNOWN,)
            for port in self.outputs
            if port.name not in known
        }

    def _shaped_by_inputs(self) -> bool:
        """Whether the values of an input say how large another tensor is: sizes, and scales of Resize in float."""
        follow = {port.name for port in self.inputs}
        for node in self.graph.nodes:
            places = _SHAPE_OPERANDS.get(node.op_type, slice(0, 0))
            if follow.intersection(node.input[places]):
                return True
            if node.op_type not in ("Shape", "Size") and follow.intersection(node.input):
                follow.update(node.output)
        return False

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return every weight of the engine by name, as stored in the model."""
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.graph.model.graph.initializer}

    def refittable(self) -> list[str]:
        """Return the names of the weights that a refitter may change."""
        if self.settings["refit"] == "all":
            return [name for name, array in self.weights().items() if array.dtype.kind == "f"]
        return list(self.settings["refittable"]) if self.settings["refit"] == "some" else []

    def refit(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put other weights into the engine; contexts see them from their next run on."""
        for tensor in self.graph.model.graph.initializer:
            if tensor.name in weights:
                new = np.asarray(weights[tensor.name])
                old = numpy_helper.to_array(tensor)
                tensor.CopyFrom(
                    numpy_helper.from_array(new.astype(old.dtype).reshape(old.shape), tensor.name)
                )
        with self._lock:
            self._program = self._wide = None

    def memory_bytes(self) -> int:
        """Return how much device memory a context is said to need, bytes."""
        rows = self.settings["layers"]
        return 512 * max(1, len(rows)) + max((row.get("workspace", 0) for row in rows), default=0)


def fits(shape: Sequence[int], low: Sequence[int], high: Sequence[int]) -> bool:
    """Return whether a shape lies in [low, high], dimension by dimension."""
    return len(shape) == len(low) and all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True))
