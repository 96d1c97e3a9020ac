"""The least time that a network can take: its work against the peak rates of the device that does it.

The roofline (Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures",
Communications of the ACM 52(4), 2009): no run is faster than its products at the peak rate, nor than its bytes at the bandwidth
of the memory. A share of it says how full a device is. A measured time that is shorter than any algorithm can be is no time of
this network, and that needs a bound more careful than the usual figures: see `Roofline.floor_seconds`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from onnx import ModelProto

from pytest_trt.check.graph import Graph, Node, load_model
from pytest_trt.emulator import clock
from pytest_trt.errors import InputError
from pytest_trt.hardware.classes import GpuClass
from pytest_trt.precision.graph import infer
from pytest_trt.runtime.load import Runtime

WIDTHS: Mapping[str, int] = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_SIZES: Mapping[str, int] = {"fp64": 8, "int64": 8, "int32": 4, "uint8": 1, "bool": 1, **WIDTHS}
_FLOATS = frozenset({"fp64", "fp32", "fp16", "bf16"})

# Fast algorithms multiply less than the sum that defines a convolution. Per output and pair of channels the largest tiles in
# use need 2.25 products for a 3 x 3 kernel (Winograd's F(4x4, 3x3): Lavin and Gray, "Fast Algorithms for Convolutional Neural
# Networks", CVPR 2016, section 4.1), transforms of 32 x 32 tiles about 2.4; none in use needs fewer than 2.
FEWEST_PRODUCTS = 2
# Peak rates are quoted at a boost clock that GPUs exceed: the RTX 4090's are at 2.52 GHz, and it runs at 2.8 and more.
OVER_PEAK = 1.25
# What a run leaves in the level 2 cache, the next one of a benchmark need not fetch. No GPU of the table has one as large as this
# (B200: 126 MB; NVIDIA, "Blackwell Architecture Technical Brief").
LARGEST_CACHE = 256 * 2**20


@dataclass(frozen=True)
class Work:
    """What one run of a network has to do.

    Attributes
    ----------
    flops : float
        Floating-point operations, two a product that is added up, as convolutions and matrix products are defined; of INT8 they
        are integer operations. Other operators count none.
    least_flops : float
        With the fastest algorithms known, see `FEWEST_PRODUCTS`.
    compulsory_bytes : float
        Weights, inputs and outputs of the network, once each: what has to move even if every layer were fused.
    unfused_bytes : float
        What all nodes together read and write: an upper estimate.
    by_operator : mapping of str to float
        `flops` by operator.
    unknown : tuple of str
        Nodes whose shapes are not known before a run; they are not in it. Nor are the nodes of branches and loops.
    """

    flops: float
    least_flops: float
    compulsory_bytes: float
    unfused_bytes: float
    by_operator: Mapping[str, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Device:
    """What a run is held against.

    Attributes
    ----------
    title : str
        For people; names the precision that the rate is of.
    flops_per_second, bytes_per_second : float or None
        Peak rates; None where there is no figure.
    why : str
        Why a figure lacks.
    modelled : bool
        A device that is made of these rates: it knows no fast algorithm, no cache and no boost.
    """

    title: str
    flops_per_second: float | None
    bytes_per_second: float | None
    why: str = ""
    modelled: bool = False


@dataclass(frozen=True)
class Roofline:
    """The least times of a network on a device, in seconds; None where there is no figure.

    Attributes
    ----------
    compute_seconds, memory_seconds : float or None
        All operations at the peak rate; the compulsory bytes at the peak bandwidth.
    floor_seconds : float or None
        No correct run is shorter: the fewest products that any algorithm needs, at a clock above the one that the peak is quoted
        at, and the bytes that cannot have stayed in a cache since the run before.
    """

    compute_seconds: float | None
    memory_seconds: float | None
    floor_seconds: float | None

    @property
    def ideal_seconds(self) -> float | None:
        """The longer of both; None unless both are known."""
        if self.compute_seconds is None or self.memory_seconds is None:
            return None
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def limited_by(self) -> str:
        """`compute` or `memory`, empty where it is not known."""
        if self.compute_seconds is None or self.memory_seconds is None:
            return ""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"

    def share(self, seconds: float) -> float | None:
        """Return how much of the roofline a run of that many seconds reaches; 1 is all.

        It can be more than 1 where everything stays in a cache, where a fast algorithm saves products, or where the clock is
        above the one of the figures: `floor_seconds` allows for these.
        """
        return None if self.ideal_seconds is None else self.ideal_seconds / seconds


def count_work(
    model: Any,
    shapes: Mapping[str, Sequence[int]],
    precision: str = "fp32",
) -> Work:
    """Return the work of one run.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        As it was before it was prepared for a precision.
    shapes : mapping of str to shape
        Of each input.
    precision : str
        Floating tensors and weights have its width, or their own where that is less; inputs and outputs too, which an engine
        may keep wider.

    Raises
    ------
    ModelError
        The model cannot be read, or contradicts the shapes.
    InputError
        An input has no shape.
    """
    graph = Graph(_with_shapes(load_model(model), shapes))
    known = {
        name: (kind, tuple(size for size in shape if isinstance(size, int)))
        for name, (kind, shape) in graph.values.items()
        if all(isinstance(size, int) for size in shape)
    }
    sizes = {name: prod(shape) * _width(kind, precision) for name, (kind, shape) in known.items()}
    flops: dict[str, float] = {}
    least, unfused, unknown = 0.0, 0.0, []
    for node in graph.nodes:
        tensors = [name for name in (*node.inputs, *node.outputs) if name]
        if not all(name in known for name in tensors):
            unknown.append(node.name or node.outputs[0])
            continue
        unfused += sum(sizes[name] for name in tensors)
        shapes_in = [known[name][1] if name else () for name in node.inputs]
        products, fewest = _products(node, shapes_in, known[node.outputs[0]][1])
        if products:
            flops[node.op] = flops.get(node.op, 0.0) + 2 * products
            least += 2 * fewest
    # Of a table that rows are taken from, only these rows move.
    read = {name for node in graph.nodes for name in node.inputs if node.op != "Gather"}
    weights = [n for n, (kind, _) in known.items() if n in graph.initializers and n in read and _moves(kind)]
    interface = [name for name in (*graph.inputs, *graph.outputs) if name in known]
    return Work(
        float(sum(flops.values())),
        float(least),
        float(sum(sizes[name] for name in (*interface, *weights))),
        float(unfused),
        flops,
        tuple(unknown),
    )


def roofline(work: Work, device: Device) -> Roofline:
    """Return the least times of a work on a device."""
    compute = None if not device.flops_per_second else work.flops / device.flops_per_second
    memory = None if not device.bytes_per_second else work.compulsory_bytes / device.bytes_per_second
    floors = []
    if device.flops_per_second:
        fewest, over = (work.flops, 1.0) if device.modelled else (work.least_flops, OVER_PEAK)
        floors.append(fewest / (device.flops_per_second * over))
    if device.bytes_per_second:
        kept = 0 if device.modelled else LARGEST_CACHE
        floors.append(max(0.0, work.compulsory_bytes - kept) / device.bytes_per_second)
    return Roofline(compute, memory, max(floors) if floors else None)


def device_of(gpu: GpuClass, precision: str) -> Device:
    """Return what a network in a precision is held against on a GPU of a class; what the table lacks is said in `why`."""
    peak, bandwidth = gpu.peak(precision), gpu.bandwidth_gb_s
    lacking = [f"peak rate in {precision}"] if peak is None else []
    lacking += ["bandwidth"] if bandwidth is None else []
    return Device(
        f"{gpu.title}, {precision}",
        peak,
        None if bandwidth is None else bandwidth * 1e9,
        f"no figure for this class: {' and '.join(lacking)} of {gpu.name}" if lacking else "",
    )


def device_for(rt: Runtime, precision: str) -> Device:
    """Return what a runtime's times are held against.

    A real TensorRT: its GPU in the precision asked for. The emulator on CUDA: the GPU in float32, in which ONNX Runtime's kernels
    compute there whatever the precision is. The emulator on a CPU: the modelled device that its clock tells of; a share of a GPU
    would mean nothing.
    """
    if not rt.emulated:
        return device_of(rt.gpu, precision)
    if rt.device != "cpu":
        found = device_of(rt.gpu, "fp32")
        return Device(
            f"{found.title} (ONNX Runtime's kernels compute in float32)",
            found.flops_per_second,
            found.bytes_per_second,
            found.why,
        )
    return Device(
        f"modelled device of the emulator, not a GPU, {precision}",
        2 * clock.MULTIPLICATIONS_PER_SECOND * clock.SPEEDUPS[precision],
        clock.BYTES_PER_SECOND,
        modelled=True,
    )


def _with_shapes(model: ModelProto, shapes: Mapping[str, Sequence[int]]) -> ModelProto:
    """Return a copy whose inputs have these shapes, with the shapes that follow from them and no other ones."""
    copy = ModelProto()
    copy.CopyFrom(model)
    held = {tensor.name for tensor in copy.graph.initializer}
    for value in copy.graph.input:
        if value.name in held:
            continue
        if value.name not in shapes:
            raise InputError(f"input {value.name!r} has no shape", mend="give one for each input")
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        for size in shapes[value.name]:
            dims.add().dim_value = int(size)
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    del copy.graph.value_info[:]
    inferred = infer(copy)
    for value in inferred.graph.output:  # a graph says the rank of its outputs, also where it is not known
        if not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.dim.add().dim_param = "?"
    return inferred


def _width(kind: str, precision: str) -> int:
    own = _SIZES.get(kind, 1)
    return min(own, WIDTHS[precision]) if kind in _FLOATS else own


def _moves(kind: str) -> bool:
    """Tell whether constants of a type are weights; shapes and axes are integers, and are gone when an engine runs."""
    return kind in _FLOATS or kind in ("int8", "uint8")


def _products(node: Node, shapes: Sequence[tuple[int, ...]], made: tuple[int, ...]) -> tuple[float, float]:
    """Return how many products a node adds up, and the fewest that an algorithm for it needs; zeros for other operators."""
    if node.op in ("Conv", "ConvTranspose"):
        x, w = shapes[0], shapes[1]
        pairs = prod(made) * w[1] if node.op == "Conv" else prod(x) * w[1]
        taps = prod(w[2:])
        return float(pairs * taps), float(pairs * min(taps, FEWEST_PRODUCTS))
    if node.op == "Gemm":
        a = shapes[0]
        count = float(prod(made) * (a[0] if node.attributes.get("transA", 0) else a[1]))
        return count, count
    if node.op == "MatMul":
        count = float(prod(made) * shapes[0][-1])
        return count, count
    return 0.0, 0.0
