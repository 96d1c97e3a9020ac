"""The command line beside pytest: `python -m pytest_trt COMMAND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from pytest_trt import __version__
from pytest_trt.cli import bite, claims, golden, history, layers, lint, nodes, table
from pytest_trt.errors import TrtError


class Command(Protocol):
    """A module of this room: its docstring describes the command."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the options of the command."""

    def run(self, given: argparse.Namespace, /) -> int:
        """Do it and return the exit status; wrong use is a `TrtError`."""


# What `--help` says of each, in its order; `doctor` stands before them.
_COMMANDS: Mapping[str, tuple[Command, str]] = {
    "bite": (bite, "measure how many injected faults are caught"),
    "claims": (claims, "the claims of the FAQ and the public bugs, with the last results"),
    "golden": (golden, "look at goldens, compare, verify, prune and accept them"),
    "history": (history, "the runs that pytest-benchmark stored, and whether a time has changed for good"),
    "lint": (lint, "advice on an ONNX graph, without any TensorRT"),
    "layers": (layers, "the type of each layer of an engine"),
    "nodes": (nodes, "which node cases of onnx a TensorRT supports"),
    "table": (table, "look at a calibration cache of INT8"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 good, 1 something is wrong, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m pytest_trt", description=__doc__)
    parser.add_argument("--version", action="version", version=f"pytest-trt {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    doctor = commands.add_parser("doctor", help="say what is here, what is missing and how to get it")
    doctor.add_argument("--json", action="store_true", help="the same facts as JSON, for a bug report")
    for name, (module, words) in _COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=words, description=module.__doc__))
    given = parser.parse_args(arguments)
    if given.command == "doctor":
        from pytest_trt.cli import doctor as command  # imports on demand: --help answers at once

        return command.run(as_json=given.json)
    try:
        return _COMMANDS[given.command][0].run(given)
    except TrtError as error:
        print(error, file=sys.stderr)
        return 2
