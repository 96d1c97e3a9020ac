"""One implicit INT8 calibration: the table that TensorRT writes, and the scales that its engine uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.errors import UnsupportedError
from pytest_trt.precision.proof import prove
from pytest_trt.runtime.inspect import engine_layers
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import errors_in
from pytest_trt.runtime.session import Session, load_engine

from ._named import Checked

TABLE = "calibration-table"
BATCHING = "calibration-batching"
CACHE = "calibration-cache"
ENGINE = "calibrated-engine"

WIDTH = 8
# A table holds float32 scales; inner tensors come from sums in an order of TensorRT's own, and in TF32 where it is on.
TABLE_LIMIT = 2.0**-9
# Products of integers and scales in float32: a few roundings. A value that lies on a tie may go either way: one level.
ENGINE_LIMIT = 2.0**-18


def gains() -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the two products: diagonal, equal in size, so that one scale does for each."""
    return 2 * np.eye(WIDTH, dtype=np.float32), 3 * np.eye(WIDTH, dtype=np.float32)


def network(batch: int) -> ModelProto:
    """Return y = (x A) B, each product with a scale of its own in front."""
    first, second = gains()
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
            helper.make_node("MatMul", ["h", "b"], ["y"], name="second"),
        ],
        "calibrated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, WIDTH])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def data() -> np.ndarray:
    """Return the calibration data: four rows, the largest value in one of them."""
    x = np.random.default_rng(0).uniform(-1, 1, (4, WIDTH)).astype(np.float32)
    x[2, 3] = 1.4375
    return x


def make_calibrator(rt: Runtime, batches: Sequence[np.ndarray], cache: bytes | None = None) -> Any:
    """Return a min-max calibrator on these batches; `written` is the table, `asked` how many batches were asked for."""
    trt, memory = rt.trt, rt.memory
    assert memory is not None
    stream = memory.create_stream()
    buffers = []
    for batch in batches:
        buffers.append(memory.alloc(batch.nbytes))
        memory.upload(buffers[-1], batch, stream)
    stream.synchronize()

    class Calibrator(trt.IInt8MinMaxCalibrator):
        def __init__(self) -> None:
            trt.IInt8MinMaxCalibrator.__init__(self)
            self.held = buffers  # the memory lives as long as the calibrator
            self.asked, self.written = 0, b""

        def get_batch_size(self) -> int:
            return int(batches[0].shape[0])

        def get_batch(self, names: Sequence[str]) -> list[int] | None:
            self.asked += 1
            return [self.held[self.asked - 1].address] if self.asked <= len(self.held) else None

        def read_calibration_cache(self) -> bytes | None:
            return cache

        def write_calibration_cache(self, cache: Any) -> None:
            self.written = bytes(memoryview(cache))

    memory.destroy_stream(stream)
    return Calibrator()


def build(rt: Runtime, calibrator: Any, batch: int) -> bytes:
    """Return the plan that an implicit calibration gives.

    Raises
    ------
    UnsupportedError
        TensorRT refused.
    """
    trt = rt.trt
    with rt.logger.collect() as lines, rt.active():
        builder = trt.Builder(rt.logger.raw)
        network_ = builder.create_network(rt.features.network_flags(False))
        assert trt.OnnxParser(network_, rt.logger.raw).parse(network(batch).SerializeToString())
        config = builder.create_builder_config()
        config.set_flag(trt.BuilderFlag.INT8)
        config.clear_flag(trt.BuilderFlag.TF32)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.int8_calibrator = calibrator
        plan = builder.build_serialized_network(network_, config)
    if plan is None:
        raise UnsupportedError(f"{rt.title} did not calibrate", why=errors_in(lines))
    return bytes(plan)


def read_table(written: bytes) -> dict[str, float]:
    """Return the scale of each tensor in a calibration table: lines `name: bits of a float32 in hexadecimal`."""
    found = {}
    for line in written.decode().splitlines()[1:]:
        name, colon, bits = line.rpartition(": ")
        if colon:
            found[name] = float(np.uint32(int(bits, 16)).view(np.float32))
    return found


def _wrong_scales(table: dict[str, float], x: np.ndarray) -> str | None:
    """Return which scales of a table are not those of the data: largest magnitude over 127."""
    first, second = gains()
    reach = {"x": x, "h": x @ first, "y": x @ first @ second}
    wrong = []
    for name, values in reach.items():
        want = float(np.abs(values).max()) / 127
        got = table.get(name)
        if got is None:
            wrong += [f"{name}: no scale"] if name != "y" else []  # nothing reads the output again
        elif not abs(got - want) <= TABLE_LIMIT * want:
            wrong.append(f"{name}: scale {got:.6g} is {got / want:.4g} times what the data give")
    return "; ".join(wrong) or None


def _levels(values: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(np.rint(values / scale), -128, 127)


def _wrong_answer(rt: Runtime, plan: bytes, table: dict[str, float], x: np.ndarray) -> str | None:
    """Return how an engine's answer differs from that of INT8 arithmetic with the scales of the table."""
    engine = load_engine(rt, plan)
    if not prove(engine_layers(rt.trt, engine), "int8").holds:
        return None if not rt.emulated else "a product was not built in int8"  # TensorRT may prefer fp32
    with Session(rt, engine) as session:
        got = session.run({"x": x})["y"].astype(np.float64)
    first, second = (float(weights[0, 0]) for weights in gains())
    inner = first * _levels(x.astype(np.float64), table["x"]) * table["x"]
    want = second * _levels(inner, table["h"]) * table["h"]
    level = second * table["h"]
    apart = np.abs(got - want)
    tied = np.abs(np.abs(inner / table["h"] % 1) - 0.5) < 1e-3
    bad = apart > np.where(tied, 1.001 * level, 0) + ENGINE_LIMIT * np.abs(want)
    if not bad.any():
        return None
    return f"{int(bad.sum())} of {bad.size} values are not those of the table's scales, by up to {apart.max():.3g}"


def check_calibration(rt: Runtime) -> Iterator[Checked]:
    """Yield whether the table holds the scales of the data, and the engine uses the scales of the table."""
    x = data()
    whole = make_calibrator(rt, [x])
    plan = build(rt, whole, len(x))
    table = read_table(whole.written)
    yield TABLE, _wrong_scales(table, x)
    parts = make_calibrator(rt, [x[:2], x[2:]])
    build(rt, parts, 2)
    same = read_table(parts.written) == table
    yield BATCHING, None if same else "the same data in two batches give another table"
    again = make_calibrator(rt, [x], cache=whole.written)
    build(rt, again, len(x))
    yield CACHE, f"{again.asked} batches were asked for in spite of a cache" if again.asked else None
    usable = {"x", "h"} <= table.keys()
    # Twice the calibrated range and more: what lies outside is clipped.
    wide = (2.5 * x).astype(np.float32)
    yield ENGINE, _wrong_answer(rt, plan, table, wide) if usable else None
