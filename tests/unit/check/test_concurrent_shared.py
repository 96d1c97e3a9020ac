"""A context that two threads want: what the check says of a session that is not one."""

from __future__ import annotations

import numpy as np

from pytest_trt.check import shared
from pytest_trt.check.relations import Base
from pytest_trt.check.shared import check_shared
from pytest_trt.errors import ExecutionError, UsageError

BASE = Base({"x": np.float32([1, 2])}, {"y": np.float32([2, 4])}, {})


class Fake:
    """A session that doubles, and refuses whoever comes while it reads its inputs."""

    def __init__(self, later=lambda: None, words="thread {0} uses a context that thread {0} is using"):
        self.runs, self.reading, self.later, self.words = 0, False, later, words

    def run(self, feeds):
        if self.reading:
            raise UsageError(self.words.format(0))
        self.runs += 1
        if self.runs > 1:
            self.later()
        self.reading = True
        try:
            return {"y": 2 * np.asarray(feeds["x"], np.float32)}
        finally:
            self.reading = False

    def enqueue(self, feeds):
        return self.run(feeds)

    def launch(self):
        self.run(BASE.feeds)


def fail():
    raise ExecutionError("the driver is gone")


def test_a_refusal_has_to_name_both_threads():
    found = dict(check_shared(Fake(), BASE))
    assert found[shared.REFUSED] is None and found[shared.UNDISTURBED] is None
    assert "are not both named: thread 0 uses" in found[shared.NAMED]


def test_a_first_thread_that_fails_is_told_and_not_waited_for():
    found = dict(check_shared(Fake(fail), BASE))
    assert set(found) == {shared.REFUSED}
    assert (
        "did not get to its inputs" in found[shared.REFUSED] and "the driver is gone" in found[shared.REFUSED]
    )


def test_a_first_run_that_is_disturbed():
    class Disturbed(Fake):
        def run(self, feeds):
            got = super().run(feeds)
            if self.runs == 2:
                fail()
            return got

    found = dict(check_shared(Disturbed(), BASE))
    assert (
        found[shared.REFUSED] is None and "was not finished: the driver is gone" in found[shared.UNDISTURBED]
    )
