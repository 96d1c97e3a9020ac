"""What a TensorRT says in situations that are made up here: facts for a judge, taken in this process or in a child.

What may crash a real TensorRT, or needs a logger of its own, runs in a child (`ask_child`); on the emulator everything runs
here, in a TensorRT that was loaded for it.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pytest_trt.check.concurrent import run_in_threads
from pytest_trt.check.crosstalk import START_SECONDS
from pytest_trt.records import LogLine, Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.log import TrtLogger
from pytest_trt.runtime.recorder import make_parser, recorded

__all__ = ["SITUATIONS", "Answer", "ask", "ask_child"]

Lines = list[list[str]]  # severity and text


def _plain(lines: Sequence[LogLine]) -> Lines:
    return [[line.severity, line.text] for line in lines]


def _build_nothing(rt: Runtime, builder: Any) -> bool:
    network = builder.create_network(rt.features.network_flags(False))
    return builder.build_serialized_network(network, builder.create_builder_config()) is not None


def severities(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The numbers of the severities, and whether `trt.Logger` has the same members."""
    members = rt.trt.ILogger.Severity.__members__
    same = [name for name, value in members.items() if getattr(rt.trt.Logger, name, None) == value]
    return {"numbers": {name: int(value) for name, value in members.items()}, "on_logger": same}


def clean_build(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The lines of the build of a model that has nothing odd."""
    with rt.logger.collect() as lines:
        plan = build_plan(
            rt, BuildRequest(model=model, strongly_typed=rt.features.strong_typing, detailed=True)
        )
    return {"built": bool(plan.data), "lines": _plain(lines)}


def raising_logger(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The same build with a logger whose every call raises."""

    class Raising(TrtLogger):
        def add(self, line: LogLine) -> None:
            super().add(line)
            raise ValueError("this logger raises, and TensorRT drops that")

    facts = clean_build(replace(rt, logger=Raising(rt.trt)), model)
    return {**facts, "lines": len(facts["lines"])}


def empty_network(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The lines of a build that is refused, without a recorder."""
    with rt.logger.collect() as lines:
        built = _build_nothing(rt, rt.trt.Builder(rt.logger.raw))
    return {"built": built, "lines": _plain(lines)}


def empty_network_recorded(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The same with a recorder on the builder."""
    builder = rt.trt.Builder(rt.logger.raw)
    with recorded(rt, builder) as said:
        built = _build_nothing(rt, builder)
    errors = [list(error) for error in said.recorder.errors]
    return {"built": built, "lines": _plain(said.lines), "errors": errors}


def inheritance(rt: Runtime, model: bytes) -> dict[str, Any]:
    """Where a network and a config report to that were made before the builder had a recorder, and after."""
    builder = rt.trt.Builder(rt.logger.raw)
    flags = rt.features.network_flags(False)
    facts: dict[str, Any] = {}
    older = (builder.create_network(flags), builder.create_builder_config())
    with recorded(rt, builder) as said:
        newer = (builder.create_network(flags), builder.create_builder_config())
        for when, (network, config) in (("before", older), ("after", newer)):
            profile = builder.create_optimization_profile()
            profile.set_shape("x", (3,), (2,), (1,))
            calls: tuple[tuple[str, Callable[[], Any]], ...] = (
                ("INetworkDefinition::getInput", partial(network.get_input, 0)),
                ("IBuilderConfig::addOptimizationProfile", partial(config.add_optimization_profile, profile)),
            )
            for name, provoke in calls:
                said.recorder.clear()
                said.lines.clear()
                provoke()
                facts[f"{name} {when}"] = {
                    "recorder": sum(name in error.text for error in said.recorder.errors),
                    "logger": sum(name in line.text for line in said.lines),
                }
    return facts


def second_logger(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The lines of two loggers, each with a builder; the second builder is given an empty network."""
    first, second = TrtLogger(rt.trt), TrtLogger(rt.trt)
    with first.collect() as of_first, second.collect() as of_second, rt.logger.collect():
        one = rt.trt.Builder(first.raw)
        built = _build_nothing(rt, rt.trt.Builder(second.raw))
        del one
    return {"built": built, "first": _plain(of_first), "second": _plain(of_second)}


def two_threads(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The lines that two threads collect, of which one builds a good model and the other one an empty network."""
    both = threading.Barrier(2, timeout=START_SECONDS)

    def work(situation: Callable[[Runtime, bytes], dict[str, Any]]) -> dict[str, Any]:
        both.wait()
        return situation(rt, model)

    good, empty = run_in_threads([partial(work, clean_build), partial(work, empty_network)])
    return {"good": good, "empty": empty}


def _release(*things: list[Any]) -> None:
    for thing in things:
        thing.clear()
        gc.collect()


def parser_and_recorder(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The errors of a parser and a build, with a recorder on builder and network; then all are released, one by one."""
    builder = [rt.trt.Builder(rt.logger.raw)]
    with recorded(rt, builder[0]) as said:
        network = [builder[0].create_network(rt.features.network_flags(False))]
        parser = [make_parser(rt, network[0])]
        parsed = parser[0].parse(b"garbage")
        _build_nothing(rt, builder[0])
        errors = list(said.errors)
        _release(parser, network)
    _release(builder)
    return {"parsed": parsed, "errors": errors}


def parser_after_recorder(rt: Runtime, model: bytes) -> dict[str, Any]:
    """The same in the order that crashes TensorRT-RTX 1.7.1: the parser is made of a network that has a recorder."""
    builder = [rt.trt.Builder(rt.logger.raw)]
    with recorded(rt, builder[0]) as said:
        network = [builder[0].create_network(rt.features.network_flags(False))]
        parser = [rt.trt.OnnxParser(network[0], rt.logger.raw)]
        parsed = parser[0].parse(b"garbage")
        errors = list(said.errors)
        _release(parser, network)
    _release(builder)
    return {"parsed": parsed, "errors": errors}


SITUATIONS: dict[str, Callable[[Runtime, bytes], dict[str, Any]]] = {
    situation.__name__: situation
    for situation in (
        severities,
        clean_build,
        empty_network,
        empty_network_recorded,
        inheritance,
        two_threads,
        raising_logger,
        second_logger,
        parser_and_recorder,
        parser_after_recorder,
    )
}


class Answer(NamedTuple):
    """How a process ended that was asked: its exit status (0; a signal's is negative), and the facts of each situation."""

    status: int
    facts: dict[str, dict[str, Any]]


def ask(rt: Runtime, names: Sequence[str], model: bytes) -> Answer:
    """Return the facts of situations, in this process."""
    return Answer(0, {name: SITUATIONS[name](rt, model) for name in names})


def ask_child(rt: Runtime, names: Sequence[str], model: bytes, *, seconds: float = 300) -> Answer:
    """Return the facts of situations, of the same real TensorRT for the same GPU class, in a process of its own.

    Raises
    ------
    subprocess.TimeoutExpired
        The child took longer than `seconds`.
    """
    with tempfile.TemporaryDirectory() as folder:
        (given, taken) = (Path(folder) / "model.onnx", Path(folder) / "facts.jsonl")
        given.write_bytes(model)
        command = [sys.executable, "-m", __name__, rt.product, rt.gpu.name, str(given), str(taken), *names]
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        told = taken.read_text(encoding="utf-8").splitlines() if taken.exists() else []
    return Answer(done.returncode, dict(json.loads(line) for line in told))


def _main(product: str, gpu: str, given: str, taken: str, *names: str) -> int:
    rt = discover(Settings(runtime=product, gpu=gpu)).builder
    if rt is None:
        return 3
    for name in names:
        facts = SITUATIONS[name](rt, Path(given).read_bytes())
        with Path(taken).open("a", encoding="utf-8") as file:  # at once: the next one may crash
            file.write(json.dumps([name, facts]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
