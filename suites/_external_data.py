"""Models whose weights lie in files beside them: parsed, built and streamed, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.errors import ModelError, TrtError, UnsupportedError
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session, load_engine
from pytest_trt.runtime.streaming import can_stream, write_plan

from ._named import Checked

SAME_PLAN = "external-same-plan"
SAME_ANSWER = "external-own-weights"
FROM_FILE = "external-from-file"
BYTES_ALONE = "external-bytes-alone-refused"
MISSING = "external-missing-refused"
SHORT = "external-short-refused"
OUTSIDE = "external-outside-refused"
OURS = "external-checked-before-build"
STREAM = "plan-by-stream"
WEIGHTS = "weights.bin"


def network() -> onnx.ModelProto:
    """Return two convolutions whose weights are small integers; the second tensor lies behind the first in its file.

    They are 1x1, so matrix products in effect; as such TensorRT-RTX would refuse them for SM75 in float32.
    """
    rng = np.random.default_rng(18)
    first, second = (
        rng.integers(-4, 5, shape).astype(np.float32) for shape in ((16, 8, 1, 1), (5, 16, 1, 1))
    )
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "first"], ["h"], name="one"),
            helper.make_node("Conv", ["h", "second"], ["y"], name="two"),
        ],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 8, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5, 1, 1])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FEED = np.arange(-12, 12, dtype=np.float32).reshape(3, 8, 1, 1)


def save(folder: Path) -> Path:
    """Return the path of the network, its weights in a file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save_model(network(), str(path), save_as_external_data=True, location=WEIGHTS, size_threshold=0)
    return path


def move_outside(path: Path) -> Path:
    """Return the path of a model that looks for its weights in the folder above its own, where they are."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = f"../{WEIGHTS}"
    (path.parent.parent / WEIGHTS).write_bytes((path.parent / WEIGHTS).read_bytes())
    outside = path.with_name("outside.onnx")
    outside.write_bytes(model.SerializeToString())
    return outside


def parse(rt: Runtime, path: Path, how: str) -> tuple[bool, str]:
    """Return whether TensorRT's own parser takes a model, and all that it said.

    `how` is `file` (`parse_from_file`), `path` (`parse(bytes, path)`) or `bytes` (`parse(bytes)`).
    """
    with rt.logger.collect() as lines, rt.active():
        builder = rt.trt.Builder(rt.logger.raw)
        net = builder.create_network(rt.features.network_flags(rt.features.strong_typing))
        parser = rt.trt.OnnxParser(net, rt.logger.raw)
        if how == "file":
            taken = parser.parse_from_file(str(path))
        elif how == "path":
            taken = parser.parse(path.read_bytes(), str(path))
        else:
            taken = parser.parse(path.read_bytes())
        words = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
        del parser, net, builder
    return bool(taken), "\n".join((*words, *(line.text for line in lines if line.severity.endswith("ERROR"))))


def _request(rt: Runtime, source: Path | onnx.ModelProto) -> BuildRequest:
    strong = rt.features.strong_typing
    if isinstance(source, Path):
        return BuildRequest.from_file(source, strongly_typed=strong)
    return BuildRequest(source.SerializeToString(), strongly_typed=strong)


def check_external(rt: Runtime, folder: Path) -> list[Checked]:
    """Return what is wrong with how a TensorRT takes external weights, by check."""
    path = save(folder / "good")
    rows: list[Checked] = []
    for how in ("file", "path"):
        taken, words = parse(rt, path, how)
        rows.append((FROM_FILE, None if taken else f"{how}: not parsed: {words}"))
    if not all(wrong is None for _, wrong in rows):
        return rows
    embedded, external = (build_plan(rt, _request(rt, source)) for source in (network(), path))
    same = embedded.data == external.data
    rows.append(
        (
            SAME_PLAN,
            None if same else "the plan from external weights is not the plan of the same model in one piece",
        )
    )
    if rt.can_execute:
        with Session(rt, load_engine(rt, external)) as session:
            got = session.run({"x": FEED})["y"]
        weights = [numpy_helper.to_array(tensor) for tensor in network().graph.initializer]
        first, second = (weight[:, :, 0, 0].T for weight in weights)
        want = (FEED[:, :, 0, 0] @ first @ second)[:, :, None, None]  # integers below 2^24: no sum is rounded
        rows.append(
            (SAME_ANSWER, None if np.array_equal(got, want) else f"got {got.tolist()}, want {want.tolist()}")
        )
    rows.append((BYTES_ALONE, refused(*parse(rt, path, "bytes"), "first", WEIGHTS)))
    cut = save(folder / "cut")
    (cut.parent / WEIGHTS).write_bytes((cut.parent / WEIGHTS).read_bytes()[:-4])
    missing = save(folder / "missing")
    (missing.parent / WEIGHTS).unlink()
    outside = move_outside(save(folder / "outside" / "model"))
    for check, bad, tensor in (
        (SHORT, cut, "second"),
        (MISSING, missing, "first"),
        (OUTSIDE, outside, "first"),
    ):
        for how in ("file", "path"):
            rows.append((check, refused(*parse(rt, bad, how), tensor, WEIGHTS)))
        rows.append((OURS, refused_by_us(rt, bad, tensor)))
    return rows


def refused(taken: bool, words: str, tensor: str, file: str) -> str | None:
    """Return None where a model was refused in words that name tensor and file, else what is wrong."""
    if taken:
        return f"parsed without the weights of {tensor!r}"
    lost = [name for name in (tensor, file) if name not in words]
    return f"refused, and {lost[0]!r} is not named in {words!r}" if lost else None


def refused_by_us(rt: Runtime, path: Path, tensor: str, build: Any = build_plan) -> str | None:
    """Return None where our build refuses weights before TensorRT sees the model, naming tensor and file."""
    with rt.logger.collect() as lines:
        try:
            build(rt, _request(rt, path))
        except ModelError as error:
            if any(line.severity.endswith("ERROR") for line in lines):
                return f"TensorRT was asked first: {lines[0].text}"
            return refused(False, str(error), tensor, WEIGHTS)
        except TrtError as error:
            return f"no error of the model, but {error}"
    return "built without the weights"


def check_stream(rt: Runtime) -> list[Checked]:
    """Return what is wrong with a plan that is written by stream: it is the one that lies in memory.

    Raises
    ------
    UnsupportedError
        This TensorRT has no stream of plans.
    """
    if not can_stream(rt):
        raise UnsupportedError(f"{rt.title} writes no plan to a stream")
    request = _request(rt, network())
    pieces: list[bytes] = []
    write_plan(rt, request, pieces.append)
    want = build_plan(rt, request).data
    got = b"".join(pieces)
    return [
        (STREAM, None if got == want else f"{len(got)} bytes by stream, {len(want)} in memory, not the same")
    ]
