"""Tables of the measurements, at most 100 columns wide."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from pytest_trt.bite.excused import EXCUSED
from pytest_trt.bite.intervals import Share
from pytest_trt.bite.records import SuiteRow
from pytest_trt.bite.score import PairScore
from pytest_trt.bite.thresholds import MUTANTS
from pytest_trt.emulator.faults.registry import FAULTS

WIDTH = 100
_SHOWN = 3  # configurations named for each survivor


def clip(text: str, width: int) -> str:
    """Return a text that is no wider than `width`."""
    return text if len(text) <= width else text[: width - 3] + "..."


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows under a head, columns aligned; `right` names those that are aligned to the right."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(clip("  ".join(parts).rstrip(), WIDTH))
    return [lines[0], "-" * min(WIDTH, max(map(len, lines))), *lines[1:]]


def pair_lines(score: PairScore) -> list[str]:
    """Return the pair score in words."""
    ours = score.ours
    low, high = ours.useful.interval
    lines = [
        f"pair score {ours.useful.value:.4f} (95 % interval {low:.4f} to {high:.4f}) on the {score.battery} battery:"
        f" {ours.useful.count} of {ours.useful.total}",
        f"  configurations and faults; {len(score.rows)} configurations, {len(score.faults)} faults that changed a bit",
        f"false alarms {ours.alarms.count} of {ours.alarms.total} outputs of correct kernels"
        f" (95 % upper limit {ours.alarms.upper:.1e})",
        "",
    ]
    lines += [*_shares("battery", score.batteries), ""]
    lines += [*_shares("family", score.families), ""]
    lines += [*_shares("contract", score.contracts), ""]
    lines += table(
        ["oracle", "useful score", "raw score", "false alarms", "share"],
        [
            [
                row.oracle,
                f"{row.useful.value:.4f}",
                f"{row.raw.value:.4f}",
                f"{row.alarms.count}/{row.alarms.total}",
                f"{row.alarms.value:.4f}",
            ]
            for row in score.oracles
        ],
        right=(1, 2, 3, 4),
    )
    return (
        lines
        + _survivors(score)
        + _problems("correct outputs refused", score.alarms)
        + _problems("raised", score.broken)
    )


def _shares(head: str, shares: Mapping[str, Share]) -> list[str]:
    rows = [
        [
            name,
            f"{share.value:.4f}",
            f"{share.interval[0]:.4f} to {share.interval[1]:.4f}",
            f"{share.count}/{share.total}",
        ]
        for name, share in shares.items()
    ]
    return table([head, "useful score", "95 % interval", "pairs"], rows, right=(1, 3))


def _survivors(score: PairScore) -> list[str]:
    if not score.survivors:
        return ["", "no survivors"]
    found: dict[str, list[str]] = defaultdict(list)
    for survivor in score.survivors:
        found[survivor.fault].append(survivor.text)
    lines = [
        "",
        f"survivors: {len(score.survivors)} (replay one: --configuration CONTRACT:SEED as in brackets)",
    ]
    for name, texts in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        share = score.faults[name]
        lines.append(f"  {name}: {len(texts)} of {share.total}")
        lines += [clip(f"    {text}", WIDTH) for text in texts[:_SHOWN]]
    return lines


def _problems(title: str, entries: Sequence[str]) -> list[str]:
    if not entries:
        return []
    return ["", f"{title}: {len(entries)}", *(f"  {line}" for line in entries[:10])]


def suite_lines(rows: Sequence[SuiteRow], excused: Mapping[str, str] = EXCUSED) -> list[str]:
    """Return what the suites caught, in words."""
    faults = [row for row in rows if row.family != "honest"]
    honest = [row for row in rows if row.family == "honest"]
    counts = Counter(row.outcome for row in rows)
    applicable = [row for row in faults if row.outcome != "not applicable"]
    lines = []
    if faults:
        lines += [f"suites: {counts['caught']} of {len(applicable)} faults caught", ""]
        lines += table(
            ["fault", "family", "caught by", "test", "examples"],
            [
                [
                    clip(r.name, 34),
                    r.family,
                    clip(_caught_by(r), 17),
                    clip(_short(r.test), 20),
                    str(r.examples),
                ]
                for r in faults
            ],
            right=(4,),
        )
        lines += ["", *_by_mutant(faults)]
        for row in faults:
            if row.outcome == "survived":
                lines.append(f"survived: {row.name}: {excused.get(row.name, 'no excuse')}")
            if row.outcome == "broken":
                lines.append(f"broken: {row.name}: {row.note}")
    if honest:
        lines += ["", f"correct kernels: {counts['passed']} of {len(honest)} pass the suites"]
        lines += [
            clip(f"  {row.name}: {row.outcome} {row.test} {', '.join(row.checks)} {row.note}", WIDTH)
            for row in honest
            if row.outcome != "passed"
        ]
    return lines


def _caught_by(row: SuiteRow) -> str:
    return ", ".join(row.checks) if row.outcome == "caught" else row.outcome.upper()


def _short(test: str) -> str:
    """Return a test's name without its file."""
    return test.rpartition("::")[2] or test


def _by_mutant(rows: Sequence[SuiteRow]) -> list[str]:
    found: dict[str, list[SuiteRow]] = defaultdict(list)
    for row in rows:
        for name in row.mutants:
            found[name].append(row)
    shown = []
    for name in MUTANTS:
        members = found.get(name, [])
        if not members and len(rows) < len(FAULTS):
            continue  # only some faults were asked for
        caught = [row for row in members if row.outcome == "caught"]
        checks = dict.fromkeys(check for row in caught for check in row.checks)
        names = ", ".join(row.name for row in members)
        shown.append([name, f"{len(caught)}/{len(members)}", clip(", ".join(checks), 34), clip(names, 38)])
    return table(["family of bugs", "caught", "by", "faults"], shown, right=(1,))
