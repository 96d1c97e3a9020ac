"""Time per frame over the batch of two networks: a deep one of large layers, and a simple one of a single small layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.bench.batch import Curve, doublings, sweep
from pytest_trt.bench.measure import ROUNDS, Measurement, measure_session
from pytest_trt.bench.roofline import Device, Roofline, count_work, device_for, roofline
from pytest_trt.bench.timer import modelled, watch_device
from pytest_trt.check.relations import BATCH_ONE, Base, compare_rows
from pytest_trt.check.workbench import Workbench
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import measure
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session

from ._named import Checked

WITHIN = "frames-within-limits"

FRAMES = 2  # different ones; a batch repeats them, and each of its rows must be as the frame alone
ROUNDS_MODELLED = 3  # computed times are the same in each round
BLOCKS = 6
# The largest batch by budget. A GPU is full later than the modelled device, which holds 16,384 outputs at once.
LIMITS = {"quick": 32, "standard": 64, "thorough": 256}
LIMITS_GPU = {"quick": 512, "standard": 2048, "thorough": 4096}
BEYOND = 3  # batches behind the knee
MOST_SECONDS = 0.05  # of one run


@dataclass(frozen=True)
class Net:
    """One network with a dynamic batch.

    Attributes
    ----------
    name : str
    model : ModelProto
    frame : tuple of int
        Shape of one frame.
    """

    name: str
    model: ModelProto
    frame: tuple[int, ...]

    def frames(self, batch: int) -> dict[str, Array]:
        """Return a batch that repeats `FRAMES` frames."""
        rng = np.random.default_rng(7)
        drawn = rng.uniform(-1, 1, (FRAMES, *self.frame)).astype(np.float32)
        return {"x": np.ascontiguousarray(drawn[np.arange(batch) % FRAMES])}


def simple() -> Net:
    """Return one 3 x 3 convolution with 2,048 outputs a frame: an eighth of what the modelled device holds at once."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((32, 32, 3, 3)) / np.sqrt(288)}
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1] * 4)
    return _net("simple", [node], weights, (32, 8, 8))


def deep(frame: tuple[int, int, int]) -> Net:
    """Return six residual blocks of two 3 x 3 convolutions, whose outputs have the shape of a frame.

    The branches are scaled so that the values keep their magnitude (Zhang, Dauphin and Ma, "Fixup Initialization", ICLR 2019).
    """
    channels = frame[0]
    rng = np.random.default_rng(1)
    nodes: list[NodeProto] = []
    weights: dict[str, np.ndarray] = {}
    last = "x"
    for block in range(BLOCKS):
        for half, scale in ((0, 1.0), (1, 0.5)):
            drawn = rng.standard_normal((channels, channels, 3, 3)) * np.sqrt(2 / (9 * channels)) * scale
            weights[f"w{block}{half}"] = drawn
        made = "y" if block == BLOCKS - 1 else f"r{block}"
        nodes += [
            helper.make_node("Conv", [last, f"w{block}0"], [f"a{block}"], name=f"conv{block}a", pads=[1] * 4),
            helper.make_node("Relu", [f"a{block}"], [f"b{block}"], name=f"relu{block}"),
            helper.make_node(
                "Conv", [f"b{block}", f"w{block}1"], [f"c{block}"], name=f"conv{block}b", pads=[1] * 4
            ),
            helper.make_node("Add", [last, f"c{block}"], [made], name=f"add{block}"),
        ]
        last = made
    return _net("deep", nodes, weights, frame)


def _net(name: str, nodes: list[NodeProto], weights: Mapping[str, np.ndarray], frame: tuple[int, ...]) -> Net:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *frame])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *frame])],
        [numpy_helper.from_array(values.astype(np.float32), key) for key, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Net(name, model, frame)


NETS = ("simple", "deep")


def network(name: str, rt: Runtime) -> Net:
    """Return a network by name; the deep one's layers fill the modelled device with one frame, and are larger on a GPU."""
    return simple() if name == "simple" else deep((32, 16, 32) if is_modelled(rt) else (64, 32, 32))


def is_modelled(rt: Runtime) -> bool:
    """Tell whether times are those of the emulator's modelled device: where no GPU runs."""
    return rt.emulated and rt.device == "cpu"


def rounds_of(rt: Runtime) -> int:
    """Return how many rounds a measurement takes."""
    return ROUNDS_MODELLED if is_modelled(rt) else ROUNDS


def limit_of(rt: Runtime, settings: Settings) -> int:
    """Return the largest batch that a budget allows."""
    return (LIMITS if is_modelled(rt) else LIMITS_GPU)[settings.budget]


@dataclass(frozen=True)
class Opened:
    """An engine that is ready to be timed, and what its answers are held against."""

    rt: Runtime
    net: Net
    session: Session
    base: Base
    device: Device
    precision: str
    wrong: str | None  # how a lone frame lies outside of the limits

    def look(self, batch: int, outputs: Mapping[str, Array]) -> str | None:
        """Return how the rows of a batch are not as the frames alone."""
        place = np.arange(batch) % FRAMES
        if all(np.array_equal(v, v[:FRAMES][place], equal_nan=True) for v in outputs.values()):
            place = place[:FRAMES]  # what is repeated is repeated bit for bit: one of each says all
        kept = {name: values[: place.size] for name, values in outputs.items()}
        broken = compare_rows(BATCH_ONE, kept, self.base, place)
        if broken is None:
            return None
        found = broken.measure
        return f"batch {batch}: {found.bad} of {found.total} values of {broken.tensor!r} are not those of batch 1"

    def checked(self, wrong: str | None) -> tuple[Checked, ...]:
        """Return whether lone frames are right, and whether the rows of batches are as these."""
        return (WITHIN, self.wrong), (BATCH_ONE, wrong)

    def floors(self, batch: int) -> Roofline:
        """Return the least times of a batch."""
        return roofline(
            count_work(self.net.model, {"x": (batch, *self.net.frame)}, self.precision), self.device
        )

    def measure(self, session: Session) -> Measurement:
        """Measure a session with the GPU watched, if there is one."""
        if is_modelled(self.rt):
            return measure_session(session, rounds=rounds_of(self.rt))
        with watch_device(self.rt) as seen:
            return measure_session(session, watch=seen)


# Limits of lone frames by network and precision: working them out takes longer than the runs.
Limits = dict[tuple[str, str], dict[str, Bound]]


@contextmanager
def opened(
    bench: Workbench, net: Net, precision: str, limit: int, known: Limits | None = None
) -> Iterator[Opened]:
    """Give a network as an engine that is tuned for a batch and takes smaller ones; without a GPU times are modelled ones."""
    rt = bench.executor
    least, tuned, most = ((batch, *net.frame) for batch in (1, limit, max(limit, FRAMES)))
    profile = {"x": (least, tuned, most)}
    pair = net.frames(FRAMES)
    known = {} if known is None else known
    with ExitStack() as held:
        held.enter_context(modelled(rt))
        limits = bench.limits(net.model, pair, precision, profile, calibration=[pair])
        subject = held.enter_context(limits.subject)
        session = subject.session
        alone = [session.run({"x": pair["x"][row : row + 1]}) for row in range(FRAMES)]
        got = {name: np.concatenate([answer[name] for answer in alone]) for name in alone[0]}
        key = net.name, precision
        if key not in known:
            known[key] = dict(limits)
        base = Base(pair, got, known[key])
        yield Opened(rt, net, session, base, device_for(rt, precision), precision, _wrong(base))


def _wrong(base: Base) -> str | None:
    """Return how lone frames lie outside of their limits; an output without limits is one that nobody can check."""
    for name, values in base.got.items():
        if name not in base.limits:
            return f"output {name!r} has no limits"
        found = measure(values, base.limits[name])
        if found.bad:
            return f"{found.bad} of {found.total} values of {name!r} of lone frames"
    return None


def study(
    bench: Workbench, net: Net, precision: str, limit: int, known: Limits | None = None
) -> tuple[Curve, tuple[Checked, ...]]:
    """Return the curve of a network up to a batch, and whether its answers were right at each one."""
    wrong: list[str | None] = []
    with opened(bench, net, precision, limit, known) as one:
        curve = sweep(
            one.session,
            net.frames,
            doublings(limit),
            measure=one.measure,
            rooflines=one.floors,
            look=lambda batch, outputs: wrong.append(one.look(batch, outputs)),
            most_seconds=None if is_modelled(one.rt) else MOST_SECONDS,
            beyond=None if is_modelled(one.rt) else BEYOND,
        )
    first = next((note for note in wrong if note is not None), None)
    return curve, one.checked(first)
