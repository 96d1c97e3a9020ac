"""What a 16-bit type makes of the numbers of an FP32 run: known before anything is built for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from pytest_trt.check.graph import FLOAT_KINDS, KINDS, Graph
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.numerics.formats import FORMATS, Array
from pytest_trt.precision.graph import computed_constants
from pytest_trt.precision.prepare import prepare

# Operators that only hand on what they got, and one that a builder merges into what reads it.
_STILL = frozenset({"Identity", "DequantizeLinear"})


@dataclass(frozen=True)
class Reach:
    """Where the magnitudes of one FP32 tensor lie in the range of a 16-bit type.

    Attributes
    ----------
    tensor : str
    total : int
        All elements.
    amax : float
        Largest finite magnitude; 0 where there is none.
    overflow : int
        Finite elements beyond the largest number of the type (65504 of fp16). Those that are nearer to it than half a step
        still round to it, the others become infinite.
    vanish : int
        Elements that are not zero and below the smallest positive number (2**-24 of fp16): they become zero or that number.
    subnormal : int
        Elements from there to the smallest normal number (2**-14 of fp16): they keep fewer bits the smaller they are.
    """

    tensor: str
    total: int
    amax: float
    overflow: int
    vanish: int
    subnormal: int

    def share(self, count: int) -> float:
        """Return a count as a share of all elements; 0 of an empty tensor."""
        return count / self.total if self.total else 0.0


def measure_reach(tensor: str, values: Array, precision: str = "fp16") -> Reach:
    """Return where the magnitudes of an FP32 tensor lie in the range of `fp16` or `bf16`."""
    form = FORMATS[precision]
    size = np.abs(np.asarray(values, dtype=np.float64))
    size = size[np.isfinite(size)]
    vanish = (size > 0) & (size < form.quantum)
    subnormal = (size >= form.quantum) & (size < 2.0**form.emin)
    return Reach(
        tensor,
        int(np.size(values)),
        float(size.max(initial=0.0)),
        int(np.count_nonzero(size > form.largest)),
        int(np.count_nonzero(vanish)),
        int(np.count_nonzero(subnormal)),
    )


def weight_reaches(graph: Graph, precision: str = "fp16") -> tuple[Reach, ...]:
    """Return the reach of each FP32 constant that a node of the main graph reads, in the order of the graph."""
    found = []
    for name in graph.initializers:
        bound = graph.constant(name)
        if bound is not None and bound.kind == "fp32" and bound.mid.size and name in graph.readers:
            found.append(measure_reach(name, bound.mid, precision))
    return tuple(found)


def activations(graph: Graph) -> tuple[str, ...]:
    """Return the floating tensors that depend on inputs and are read, or are outputs, in graph order."""
    constant = computed_constants(graph.model.graph)
    names = []
    for node in graph.nodes:
        if node.op in _STILL and not any(name in graph.outputs for name in node.outputs):
            continue
        for name in node.outputs:
            known = graph.kinds.get(name) in FLOAT_KINDS and name not in constant
            if name and known and (name in graph.readers or name in graph.outputs):
                names.append(name)
    return tuple(names)


def twin_of(name: str, there: Mapping[str, object] | set[str]) -> str | None:
    """Return the name that a tensor has in the typed graph: its own, or `..._fp32` where its operator has no 16-bit type."""
    return name if name in there else f"{name}_fp32" if f"{name}_fp32" in there else None


@dataclass(frozen=True)
class Forecast:
    """What the CPU says of a model before a TensorRT has seen it.

    Attributes
    ----------
    want : mapping of str to ndarray
        Every activation in FP32.
    stored : mapping of str to ndarray
        The same when every tensor and weight is rounded to the 16-bit type where it is stored, and computed in FP32: shows
        which infinities arise and where they and the NaN that come of them go.
    """

    want: Mapping[str, Array]
    stored: Mapping[str, Array]


def forecast(graph: Graph, feeds: Mapping[str, Array], precision: str = "fp16") -> Forecast:
    """Return every activation of a model as ONNX Runtime computes it in FP32, and with 16-bit stores.

    Raises
    ------
    ModelError
        ONNX Runtime does not load or run the model.
    PrecisionError
        The model cannot be written in the type.
    """
    names = activations(graph)
    want = OnnxRuntime(Graph(_showing(graph, names))).run(feeds)
    typed = Graph(prepare(graph.model, precision, strong=True).matched)
    twins = {name: twin for name in names if (twin := twin_of(name, typed.producer)) is not None}
    shown = OnnxRuntime(Graph(_showing(typed, tuple(twins.values())))).run(feeds)
    return Forecast({name: want[name] for name in names}, {name: shown[twin] for name, twin in twins.items()})


def count_lost(values: Array, want: Array) -> int:
    """Return how many elements are infinite or NaN where FP32 is finite; 0 where shapes differ."""
    if values.shape != want.shape:
        return 0
    return int(np.count_nonzero(np.isfinite(want) & ~np.isfinite(values)))


def _showing(graph: Graph, names: tuple[str, ...]) -> onnx.ModelProto:
    """Return the model with inner tensors as further outputs, each of its own type."""
    shown = onnx.ModelProto()
    shown.CopyFrom(graph.model)
    types = {kind: number for number, kind in KINDS.items()}
    for name in names:
        if name not in graph.outputs:
            element = types[graph.kinds[name]]
            shown.graph.output.append(onnx.helper.make_tensor_value_info(name, element, None))
    return shown
