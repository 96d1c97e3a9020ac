"""A check of relations that a single engine and context cannot show: the runs that they start from, judged, and then they."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.examine import Examiner
from pytest_trt.check.findings import to_finding
from pytest_trt.check.relations import Base, Broken
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.formats import Array
from pytest_trt.records import VIOLATES

Relations = Callable[[Subject, Sequence[Base]], Iterable[tuple[str, Broken | None]]]


def relate(
    examiner: Examiner, feeds: Sequence[Mapping[str, Array]], kinds: Sequence[str], relations: Relations
) -> None:
    """Add to an examination what the relations show; not asked where the runs that they start from are wrong already.

    Parameters
    ----------
    examiner : Examiner
        Of the subject; its `result` is added to.
    feeds, kinds : sequences of one length
        Inputs, and the data kind of each.
    relations : callable
        Given the subject and one `Base` for each feed, yields (name, what breaks it or None).
    """
    result = examiner.result
    bases = [_ground(examiner, feed, kind) for feed, kind in zip(feeds, kinds, strict=True)]
    if result.findings:
        return
    for name, broken in relations(examiner.subject, bases):
        result.relations.add(name)
        if broken is not None:
            result.findings.append(
                to_finding(
                    broken.measure,
                    name,
                    VIOLATES,
                    tensor=broken.tensor,
                    data=",".join(kinds),
                    rule=name,
                    note=broken.note,
                )
            )


def _ground(examiner: Examiner, feeds: Mapping[str, Array], kind: str) -> Base:
    """Return one run with its limits, and judge it."""
    subject, result = examiner.subject, examiner.result
    admissible = Admissible(subject.graph, feeds, subject.contract, examiner.rungs)
    got = subject.run(feeds)
    direct = admissible.on("direct")
    limits = {}
    result.unjudged.update(direct.unknown)
    for name, values in got.items():
        if name not in direct.tensors:
            continue
        judged = admissible.judge(name, values, statistics=False)
        limits[name] = judged.limits
        result.compared += judged.measure.judged
        result.certified += judged.measure.certified
        if judged.status == VIOLATES:
            result.findings.append(
                to_finding(judged.measure, judged.measure.cause, VIOLATES, tensor=name, data=kind)
            )
        else:
            result.rungs[judged.rung] += 1
    return Base(feeds, got, limits, admissible)
