"""What holds of TensorRT's log, of its error recorders, and of both together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_trt.check.said import Answer
from pytest_trt.runtime.log import SEVERITIES

from ._named import Checked
from ._times import network

NUMBERED = "severities-numbered"
QUIET = "good-build-quiet"
DETAILS = "verbose-says-more"
ONE_ERROR = "one-error-in-log"
IN_RECORDER = "one-error-in-recorder"
INHERITED = "recorder-inherited"
RAISING = "raising-logger-survived"
SECOND = "second-logger-heard"
THREADS = "threads-told-apart"
FOUND = "errors-found-anywhere"
TORN_DOWN = "recorder-torn-down"

# Asked of one process; a second logger, and what could crash, are asked of processes of their own.
TOGETHER = (
    "severities",
    "clean_build",
    "empty_network",
    "empty_network_recorded",
    "inheritance",
    "two_threads",
    "raising_logger",
)
ALONE = ("second_logger", "parser_and_recorder")
CRASHING = "parser_after_recorder"
_BAD = SEVERITIES[:2]


def model() -> bytes:
    """Return a convolution and a ReLU of static shapes."""
    made = network()
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return made.SerializeToString()


def _errors(lines: list[list[str]]) -> list[str]:
    return [text for severity, text in lines if severity in _BAD]


def _quoted(texts: list[str]) -> str:
    return f"{len(texts)} errors" + (f", the first {texts[0]!r}" if texts else "")


def check_log(facts: dict[str, dict[str, Any]]) -> Iterator[Checked]:
    """Yield what holds of the situations `TOGETHER`: name of the check, and what is wrong."""
    told = facts["severities"]
    good = told["numbers"] == {name: number for number, name in enumerate(SEVERITIES)}
    good = good and sorted(told["on_logger"]) == sorted(SEVERITIES)
    yield NUMBERED, None if good else f"severities are {told['numbers']}, on trt.Logger {told['on_logger']}"

    clean = facts["clean_build"]
    loud = [f"[{severity}] {text}" for severity, text in clean["lines"] if severity in SEVERITIES[:3]]
    lost = "a good model was not built" if not clean["built"] else ""
    yield QUIET, lost or (f"a good build says {loud[0]!r}" if loud else None)

    quiet = [line for line in clean["lines"] if line[0] != "VERBOSE"]
    more = len(clean["lines"]) > len(quiet)
    yield (
        DETAILS,
        None if more and quiet else f"{len(clean['lines'])} lines, {len(quiet)} of them not VERBOSE",
    )

    empty = facts["empty_network"]
    errors = _errors(empty["lines"])
    wrong = "an empty network was built" if empty["built"] else None
    if not wrong and (len(errors) != 1 or "output" not in errors[0]):
        wrong = f"for an empty network the logger has {_quoted(errors)}"
    yield ONE_ERROR, wrong

    kept = facts["empty_network_recorded"]
    errors, codes = _errors(kept["lines"]), [code for code, _ in kept["errors"]]
    wrong = "an empty network was built" if kept["built"] else None
    if not wrong and (codes != ["INVALID_CONFIG"] or errors):
        wrong = f"with a recorder for an empty network it has {codes}, and the logger {_quoted(errors)}"
    yield IN_RECORDER, wrong

    yield INHERITED, _find_disowned(facts["inheritance"])

    both = facts["two_threads"]
    mixed = _errors(both.get("good", {"lines": [["ERROR", "the thread raised"]]})["lines"])
    missed = not _errors(both.get("empty", {"lines": []})["lines"])
    wrong = f"a thread that builds a good model was told {_quoted(mixed)}" if mixed else None
    yield THREADS, wrong or ("a thread that builds an empty network was told no error" if missed else None)

    raising = facts["raising_logger"]
    wrong = None if raising["lines"] else "it was told nothing"
    yield RAISING, wrong if raising["built"] else "a build with a logger that raises made no plan"


def _find_disowned(told: dict[str, dict[str, int]]) -> str | None:
    for where, counts in told.items():
        home, other = ("recorder", "logger") if where.endswith("after") else ("logger", "recorder")
        if not counts[home]:
            return f"{where} the builder had a recorder: an error is not in the {home}, {counts[other]} in the {other}"
        if home == "logger" and counts[other]:
            return f"{where} the builder had a recorder: the recorder has the error"
    return None if told else "nothing was made before or after"


def check_second_logger(answer: Answer) -> Iterator[Checked]:
    """Yield that the error of a builder with a second logger was said to somebody."""
    told = answer.facts.get("second_logger")
    if told is None:
        yield SECOND, f"the process with a second logger ended with status {answer.status}"
        return
    heard = _errors([*told["first"], *told["second"]])
    yield SECOND, None if heard else "of a builder with a second logger, neither logger was told an error"


def check_recorder(answer: Answer) -> Iterator[Checked]:
    """Yield that parse and build errors are found wherever they went, and that recorder, parser and network go away in peace."""
    told = answer.facts.get("parser_and_recorder")
    alive = answer.status == 0 and told is not None
    yield (
        TORN_DOWN,
        None
        if alive
        else f"the process ended with status {answer.status} as a parser and a recorder were released",
    )
    if told is None:
        return
    missing = [
        name
        for name, found in (
            ("the parser's", any("MODEL_DESERIALIZE_FAILED" in text for text in told["errors"])),
            ("the build's", any("output" in text for text in told["errors"])),
        )
        if not found
    ]
    wrong = "garbage was parsed" if told["parsed"] else None
    yield (
        FOUND,
        wrong or (f"{' and '.join(missing)} error is neither in recorder nor log" if missing else None),
    )
