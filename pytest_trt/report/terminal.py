"""The lines of the terminal: the one after collection, and the summary."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pytest_trt.records import CONFORMS, PRECISIONS, UNJUDGED, Settings
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.tally import Counts

if TYPE_CHECKING:
    from pytest_trt.hardware import GpuClass
    from pytest_trt.runtime.load import Discovery

TITLE = "TensorRT conformance"

WIDTH = 110  # of lines that list many things
ROWS = 5  # of a section's table
SECTIONS = 12
IN_REPORT = "in the report: --trt-report=DIR"


def describe_session(settings: Settings, gpu: GpuClass, discovery: Discovery) -> str:
    """Return the line after collection: who runs, where, as which GPU, how much, and who builds."""
    executor, builder = discovery.executor, discovery.builder
    who = discovery.label
    if executor is not None:
        where = executor.device if executor.device not in who else ""
        who = f"{who}{' on ' + where if where else ''} {'as' if executor.emulated else 'on'} "
        who += f"{gpu.name} (sm_{gpu.sm})"
    else:
        who = "off (--trt-runtime=off)" if who == "off" else f"nothing executes on {gpu.name} (sm_{gpu.sm})"
    parts = [who]
    if executor is not None or builder is not None:
        parts.append(f"{' '.join(settings.precisions)}; budget {settings.budget}; seed {settings.seed}")
    if builder is not None and builder is not executor:
        parts.append(f"{builder.title} builds")
    parts.extend(f"fault {fault}" for fault in settings.faults)
    parts.extend(broken_libraries(discovery))
    return "trt: " + "; ".join(parts)


def broken_libraries(discovery: Discovery) -> list[str]:
    """Return what is installed and does not load, with its ImportError; what is not installed is no news."""
    return [
        f"{thing.name} does not load: {thing.reason}"
        for thing in discovery.missing
        if thing.name in ("tensorrt", "tensorrt_rtx") and "No module named" not in thing.reason
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a text table: the first column is flush left, columns of numbers flush right."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [all(_is_number(cell) for cell in column[1:]) for column in zip(*lines, strict=True)]
    made = []
    for line in lines:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        made.append("  ".join(cells).rstrip())
    return made


def _is_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell == "-"


def summarise(
    ledger: Ledger, gpu: str, builder: str = "the real builder", *, rows: int | None = ROWS
) -> list[str]:
    """Return the lines of the summary; none when there is no news.

    `gpu` is the GPU class of the session, `builder` the real TensorRT that built, by name and version. Of a section's
    table the first `rows` are shown, None: all of all sections.
    """
    lines: list[str] = []
    tallies = ledger.tallies()
    if tallies:
        lines += table(
            ("test", "precision", "checks", "verdicts", "elements", "bit-exact"),
            (_row(test, precision, counts) for (test, precision), counts in tallies.items()),
        )
        whole = Counts()
        for counts in tallies.values():
            whole.merge(counts)
        lines += _totals(whole, gpu)
    lines += _not_run(ledger, gpu)
    support = ledger.support()
    if support:
        lines += [f"what {builder} built, operator family x precision and GPU class:"]
        lines += [f"  {line}" for line in _support(support)]
    lines += _sections(ledger, rows)
    lines += [f"problem: {text}" for text in ledger.problems]
    return lines


def _sections(ledger: Ledger, most: int | None) -> list[str]:
    """Return the sections that tests attached: title and test, text, the first rows."""
    found = ledger.sections()
    shown = found if most is None else found[:SECTIONS]
    lines = []
    for test, section in shown:
        lines.append(f"{section['title']} [{test}]:")
        lines += [f"  {line}" for text in section["text"] for line in _filled(text)]
        rows = section["rows"] if most is None else section["rows"][:most]
        if rows:
            head = section["head"]
            lines += [f"  {line}" for line in (table(head, rows) if head else table(rows[0], rows[1:]))]
        if len(rows) < len(section["rows"]):
            lines.append(f"  ... {len(section['rows']) - len(rows)} more rows {IN_REPORT}")
    if len(shown) < len(found):
        lines.append(f"... {len(found) - len(shown)} more sections {IN_REPORT}")
    return lines


def _row(test: str, precision: str, counts: Counts) -> tuple[str, ...]:
    statuses = sorted(counts.statuses.items(), key=lambda item: (item[0] != CONFORMS, item[0]))
    words = ", ".join(
        status if number == counts.checks else f"{number} {status}" for status, number in statuses
    )
    share = f"{100 * counts.certified / counts.compared:.0f} %" if counts.compared else "-"
    return (test, precision, str(counts.checks), words, f"{counts.compared:,}", share)


def _totals(whole: Counts, gpu: str) -> list[str]:
    lines = []
    if whole.places:
        lines.append(f"checked on: {', '.join(sorted(whole.places))}; GPU class {gpu}")
    if whole.data:
        lines += _filled(f"data: {_counted(whole.data)}")
    if whole.relations:
        lines += _filled(f"relations that held: {_counted(whole.relations)}")
    if whole.unjudged:
        lines += _filled(f"{UNJUDGED}, operators without a limit: {_counted(whole.unjudged)}")
    lines += [
        f"tolerance of a marker, {number}x: {text}" for text, number in sorted(whole.tolerances.items())
    ]
    return lines


def _filled(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counter.items()))


def _not_run(ledger: Ledger, gpu: str) -> list[str]:
    lines = []
    deselected = ledger.not_run.get("deselected", 0)
    if deselected:
        lines.append(f"deselected, no precision of the test was asked for: {_tests(deselected)}")
    for reason, number in sorted(ledger.not_run.get("not_applicable", {}).items()):
        lines.append(f"not applicable on {gpu}: {reason}: {_tests(number)}")
    for (requirement, reason, mend), number in sorted(ledger.missing().items()):
        lines.append(f"skipped for lack of {requirement}, {_tests(number)}: {reason}; to get it: {mend}")
    return lines


def _tests(number: int) -> str:
    return f"{number} test" + ("" if number == 1 else "s")


def _support(support: dict[tuple[str, str, str], Counter[str]]) -> list[str]:
    columns = sorted(
        {(precision, gpu) for _, precision, gpu in support},
        key=lambda pair: (pair[1], PRECISIONS.index(pair[0]) if pair[0] in PRECISIONS else 99, pair[0]),
    )
    rows = []
    for family in sorted({family for family, _, _ in support}):
        cells = [support.get((family, precision, gpu)) for precision, gpu in columns]
        rows.append((family, *("-" if cell is None else _counted(cell) for cell in cells)))
    return table(("family", *(f"{precision} {gpu}" for precision, gpu in columns)), rows)
