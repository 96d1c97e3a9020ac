"""The fixture that holds outputs against those of an earlier run, and what a session tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_trt.errors import GoldenError, GoldenMissing, UsageError
from pytest_trt.fixtures import replay_of, running_precision
from pytest_trt.session import Session, session_of

if TYPE_CHECKING:
    from pytest_trt.golden.book import Book, Entry
    from pytest_trt.golden.record import Comparison, Golden
    from pytest_trt.numerics.bounds import Bound

FOLDER = "golden"
LOCAL = (
    "not applicable: no golden of this processor: outputs of the emulator that are not certified exact hold on one processor "
    "alone; to keep them here: --trt-golden=update=new"
)


def find_place(session: Session) -> str:
    """Return where the goldens of a session are kept: a path or an fsspec URL."""
    given = session.settings.golden_dir
    if given is not None:
        return given
    config = session.config
    base = config.inipath.parent if config.inipath is not None else config.rootpath
    return str(base / FOLDER)


class Goldens:
    """What `trt_golden` is: called, it checks or records outputs; `hold` does so with a golden that was made elsewhere.

    Attributes
    ----------
    comparisons : list of Comparison
        What came of it so far in this process, in order.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._book: Book | None = None

    def __call__(
        self,
        name: str,
        outputs: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        *,
        model: Any = None,
        limits: Mapping[str, Any] | None = None,
        precision: str | None = None,
        profile: Any = None,
        calibration: Any = None,
        **build: Any,
    ) -> Comparison:
        """Check or record the outputs of a case, as `--trt-golden` says, and return the comparison.

        Parameters
        ----------
        name : str
            Of the case; one test, one set of inputs.
        outputs : mapping of str to array, optional
            Default: those that `model` gives for `inputs`.
        inputs : mapping of str to array, optional
        model : path, bytes or onnx.ModelProto, optional
            With the inputs it says what the outputs may be: only then "changed" is told apart from "worse". `precision`,
            `profile`, `calibration` and further arguments as for the `trt_session` that gave the outputs.
        limits : mapping of str to Bound, or to (low, high), optional
            Instead of those of `model`.

        Raises
        ------
        ConformanceError
            The outputs drifted or are a regression, or the golden cannot be used.
        UsageError
            There is nothing to compare, or two goldens have one name.
        """
        __tracebackhide__ = True
        from pytest_trt.golden.outputs import golden_of_outputs, split_exact

        session = self._session
        session.need_engines()
        self._need_on()
        asked = running_precision(session, precision, "trt_golden")
        runtime = session.discovery.executor
        assert runtime is not None
        if outputs is None and (model is None or inputs is None):
            raise UsageError(
                f"golden {name!r}: there are no outputs, and no model with inputs to get them from"
            )
        found: Mapping[str, Bound] | None = read_limits(limits)
        digest = None
        if model is not None:
            from pytest_trt.check.graph import Graph, load_model

            digest = Graph(load_model(model)).digest
        if outputs is None and calibration is None and asked == "int8":
            calibration = [inputs]  # as `trt_check`: what is drawn depends on the seed
        closing = None
        if model is not None and inputs is not None:
            worked = session.workbench.limits(model, inputs, asked, profile, calibration=calibration, **build)
            closing = worked.subject
            found = worked if found is None else found
        try:
            if outputs is None:
                assert closing is not None
                if runtime.emulated and not certified_of(found):
                    self._need_local(name, asked)
                outputs = closing.run(worked.feeds)
            facts = {"seed": session.settings.seed}
            today = golden_of_outputs(
                runtime, name, self._kept(asked), outputs, inputs=inputs, model=digest, facts=facts
            )
            if not runtime.emulated:
                return self.hold(today, found)
            exact, local = split_exact(today, certified_of(found))
            return self._hold_parts(exact, local, found)
        finally:
            if closing is not None:
                closing.close()

    def _kept(self, precision: str) -> str:
        """The precision as a key has it, with all that makes another graph of it: `int8+fp16`, `int8+implicit`, `fp16+weak`."""
        settings = self._session.settings
        parts = [precision]
        if precision == "int8":
            parts += [settings.hybrid] if settings.hybrid != "off" else []
            parts += [settings.int8] if settings.int8 != "explicit" else []
        parts += [settings.typing] if settings.typing != "auto" else []
        parts += [settings.constraints] if settings.constraints != "off" else []
        parts += [settings.rewriter] if settings.rewriter != "builtin" else []
        return "+".join(parts)

    def _need_local(self, name: str, precision: str) -> None:
        """Skip before anything runs where only a golden of this processor would do, and none is kept or wanted."""
        __tracebackhide__ = True
        if self._session.settings.golden != "check":
            return
        from pytest_trt.golden.key import Key
        from pytest_trt.golden.outputs import name_machine, product_of

        runtime = self._session.discovery.executor
        assert runtime is not None
        product = f"{product_of(runtime)}+cpu-{name_machine()}"
        try:
            self.book.find(Key(name, self._kept(precision), runtime.gpu.name, product))
        except GoldenMissing:
            pytest.skip(LOCAL)
        except GoldenError:
            return  # told when it is compared

    def hold(self, golden: Golden, limits: Mapping[str, Bound] | None = None) -> Comparison:
        """Check or record a golden of today, as `--trt-golden` says, and return the comparison.

        A missing one skips, under `--trt-require=golden` it fails; one that drifted, is a regression or cannot be used fails.

        Parameters
        ----------
        golden : Golden
        limits : mapping of str to Bound, optional
        """
        __tracebackhide__ = True
        self._need_on()
        return self._finish(self._enter(golden, limits))

    @property
    def comparisons(self) -> list[Comparison]:
        return [] if self._book is None else self._book.comparisons

    @property
    def book(self) -> Book:
        """The goldens of this process."""
        if self._book is None:
            from pytest_trt.golden.book import Book
            from pytest_trt.golden.cache import open_rejected
            from pytest_trt.golden.store import open_store

            settings, place = self._session.settings, find_place(self._session)
            self._book = Book(
                open_store(place),
                settings.golden,
                settings.golden_from,
                open_rejected(place, settings.cache_dir),
            )
        return self._book

    def _need_on(self) -> None:
        __tracebackhide__ = True
        if self._session.settings.golden == "off":
            self._session.need_golden("goldens are switched off by --trt-golden=off", "leave it out")

    def _hold_parts(
        self, exact: Golden | None, local: Golden | None, limits: Mapping[str, Bound] | None
    ) -> Comparison:
        """Hold what is exact, and what holds on this processor alone where that has been recorded."""
        __tracebackhide__ = True
        from pytest_trt.golden.record import MISSING

        assert exact is not None or local is not None
        second = None if local is None else self._enter(local, limits)
        if exact is None:
            assert second is not None
            if second.comparison.outcome == MISSING and not second.written:
                pytest.skip(LOCAL)
            return self._finish(second)
        first = self._enter(exact, limits)
        if second is not None and not second.passed:
            self._finish(second)
        return self._finish(first)

    def _enter(self, golden: Golden, limits: Mapping[str, Bound] | None) -> Entry:
        __tracebackhide__ = True
        from pytest_trt.golden.travel import PROPERTY, write_entry

        running = self._session.running
        test = "" if running is None else running.item.nodeid
        golden = replace(golden, provenance={**golden.provenance, "test": test})
        entry = self.book.enter(golden, limits, test=test)
        if running is not None:
            running.item.user_properties.append((PROPERTY, write_entry(entry)))
        return entry

    def _finish(self, entry: Entry) -> Comparison:
        """Return the comparison of an entry, or end the test as its class says."""
        __tracebackhide__ = True
        from pytest_trt.golden.record import MISSING

        compared = entry.comparison
        if entry.passed and (compared.outcome != MISSING or entry.written):
            return compared
        if compared.outcome == MISSING:
            self._miss(compared)
        from pytest_trt.golden.words import accept_command, make_failure

        settings, place = self._session.settings, find_place(self._session)
        folder = None if place == str(Path.cwd() / FOLDER) else place
        raise make_failure(
            compared,
            replay=self._replay(compared.key.precision),
            accept="" if settings.golden_from else accept_command(compared.key, folder, settings.cache_dir),
        )

    def _miss(self, compared: Comparison) -> NoReturn:
        __tracebackhide__ = True
        others = [name for name in self.book.products(compared.key) if name != compared.other.product]
        mend = "record it: --trt-golden=record"
        if others:
            mend += f"; or compare with another version's: --trt-golden-from={others[-1]}"
        self._session.need_golden(f"no golden of {compared.other.product} in {self.book.store.place!r}", mend)
        raise AssertionError("a missing golden ends the test")

    def _replay(self, precision: str) -> str:
        from pytest_trt.check.conclude import replay_line
        from pytest_trt.records import VIOLATES, Verdict

        session = self._session
        start = "pytest" if session.running is None else replay_of(session.running.item, "")
        where = {"replay": start, "precision": precision.partition("+")[0], "gpu": session.gpu.name}
        line = replay_line(Verdict(VIOLATES, provenance=where), session.settings)
        more = session.settings.golden_from
        return f"{line} --trt-golden-from={more}" if more else line


def read_limits(limits: Mapping[str, Any] | None) -> Mapping[str, Bound] | None:
    """Return limits by output; a pair of low and high becomes a bound around its middle.

    Raises
    ------
    UsageError
        A limit is neither.
    """
    if limits is None:
        return None
    import numpy as np

    from pytest_trt.numerics.bounds import Bound

    found: dict[str, Bound] = {}
    for name, limit in limits.items():
        if not isinstance(limit, Bound):
            try:
                low, high = (np.asarray(end, np.float64) for end in limit)
                limit = Bound((low + high) / 2, low, high, "fp64")
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"the limit of output {name!r} is neither a Bound nor a pair (low, high)", why=str(error)
                ) from error
        found[name] = limit
    return found


def certified_of(limits: Mapping[str, Bound] | None) -> frozenset[str]:
    """Return the outputs of which every element has one admissible value."""
    if limits is None:
        return frozenset()
    known = getattr(limits, "certified", None)
    if isinstance(known, frozenset):
        return known
    return frozenset(name for name, limit in limits.items() if limit.certified == limit.mid.size)


@pytest.fixture(scope="session")
def trt_golden(pytestconfig: pytest.Config) -> Goldens:
    """Factory: `trt_golden(name, outputs=None, inputs=None, *, model=None, limits=None, precision=None, profile=None, ...)`.

    Holds the outputs of a case against those that were recorded, or records them: `--trt-golden`. With `model` and `inputs` the
    reference says whether a change is benign, a drift or a regression, and `outputs` may be left out. Returns the comparison;
    raises ConformanceError where the outputs drifted or are wrong, and skips where there is no golden.
    `trt_golden.hold(golden)` does the same with a `pytest_trt.golden.record.Golden`, for instance of a build.
    """
    return Goldens(session_of(pytestconfig))
