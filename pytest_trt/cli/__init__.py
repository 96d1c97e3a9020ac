"""The command line beside pytest: `python -m pytest_trt COMMAND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from pytest_trt import __version__
from pytest_trt.cli import bite, claims, golden, layers, lint, nodes, table
from pytest_trt.errors import TrtError

_RUN: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "bite": bite.run,
    "claims": claims.run,
    "golden": golden.run,
    "lint": lint.run,
    "layers": layers.run,
    "nodes": nodes.run,
    "table": table.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 good, 1 something is wrong, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m pytest_trt", description=__doc__)
    parser.add_argument("--version", action="version", version=f"pytest-trt {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    doctor = commands.add_parser("doctor", help="say what is here, what is missing and how to get it")
    doctor.add_argument("--json", action="store_true", help="the same facts as JSON, for a bug report")
    measured = commands.add_parser(
        "bite", help="measure how many injected faults are caught", description=bite.__doc__
    )
    bite.add_arguments(measured)
    claims.add_arguments(
        commands.add_parser(
            "claims",
            help="the claims of the FAQ and the public bugs, with the last results",
            description=claims.__doc__,
        )
    )
    golden.add_arguments(
        commands.add_parser(
            "golden",
            help="look at goldens, compare, verify, prune and accept them",
            description=golden.__doc__,
        )
    )
    lint.add_arguments(
        commands.add_parser(
            "lint", help="advice on an ONNX graph, without any TensorRT", description=lint.__doc__
        )
    )
    layers.add_arguments(
        commands.add_parser("layers", help="the type of each layer of an engine", description=layers.__doc__)
    )
    nodes.add_arguments(
        commands.add_parser(
            "nodes", help="which node cases of onnx a TensorRT supports", description=nodes.__doc__
        )
    )
    table.add_arguments(
        commands.add_parser("table", help="look at a calibration cache of INT8", description=table.__doc__)
    )
    given = parser.parse_args(arguments)
    if given.command == "doctor":
        from pytest_trt.cli import doctor as command  # imports on demand: --help answers at once

        return command.run(as_json=given.json)
    try:
        return _RUN[given.command](given)
    except TrtError as error:
        print(error, file=sys.stderr)
        return 2
