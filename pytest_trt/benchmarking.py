"""pytest-benchmark beside us: the marker `bench`, the machine's id, and what is compared with what.

Only public hooks and attributes of pytest-benchmark are used, from version 4.0 on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.collecting import uses_us
from pytest_trt.errors import SettingsError, TrtError
from pytest_trt.session import Session, session_of
from pytest_trt.xdist import is_worker

if TYPE_CHECKING:
    from pytest_trt.report.ledger import Ledger

MARKER = "bench"
LINE = "bench: a benchmark; with fixtures of ours it runs under -m bench, --benchmark-only or where its file is named"
NAME = "trt-benchmarks"
DESELECTED = "trt_benchmarks_deselected"
KEY = "trt"  # of `machine_info` and of a benchmark's `extra_info`
SHARED = 4  # benchmarks with one reason are told in one line


def register(config: pytest.Config) -> None:
    """Register what this module does and its marker, once."""
    if not config.pluginmanager.has_plugin(NAME):
        config.addinivalue_line("markers", LINE)
        config.pluginmanager.register(Benchmarks(config), NAME)


def is_asked_for(config: pytest.Config, item: pytest.Item) -> bool:
    """Return whether a benchmark was asked for: by `-m`, by `--benchmark-only`, or its file stands on the command line."""
    if re.search(rf"\b{MARKER}\b", config.getoption("markexpr", "") or ""):
        return True
    if config.getoption("benchmark_only", False):
        return True
    files = (Path(config.invocation_params.dir, str(word).partition("::")[0]) for word in config.args)
    return any(file.resolve() == item.path.resolve() for file in files if file.suffix == ".py")


def is_benchmark(item: pytest.Item) -> bool:
    """Return whether a test is a benchmark of ours: it has the marker, and a fixture of this package."""
    return item.get_closest_marker(MARKER) is not None and uses_us(item)


class Benchmarks:
    """What became of a session's benchmarks; registered in every session, and idle in one without any."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.deselected = 0
        # Of ours, by full name: why what was measured is unreliable, empty where it is not; what the runs that are compared
        # with have; what of it was unreliable then; what was compared in the end.
        self.measured: dict[str, tuple[str, ...]] = {}
        self.stored: set[str] = set()
        self.unreliable_before: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        self.judged: set[str] = set()
        # Ids of machines, now and stored, that differ and were compared all the same.
        self.others: list[tuple[str, str]] = []

    @property
    def session(self) -> Session:
        """What the pytest session of ours knows."""
        return session_of(self.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Take out, and count, the benchmarks that nobody asked for, before pytest-benchmark warns that it cannot run them."""
        out = [item for item in items if is_benchmark(item) and not is_asked_for(config, item)]
        if out:
            self.deselected += len(out)
            config.hook.pytest_deselected(items=out)
            gone = set(out)
            items[:] = [item for item in items if item not in gone]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what an xdist worker counted; all workers collect the same tests."""
        output = getattr(node, "workeroutput", None) or {}
        self.deselected = max(self.deselected, int(output.get(DESELECTED, 0)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Add what executed and where, in a session that used us."""
        if self.session.not_run.uses or self.measured:
            self._describe(machine_info)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_benchmark_compare_machine_info(
        self,
        config: pytest.Config,
        benchmarksession: Any,
        machine_info: dict[str, Any],
        compared_benchmark: dict[str, Any],
    ) -> None:
        """Refuse a run of another machine, and take out of the comparison what was unreliable when it was stored.

        It is called before tests are collected. The runtime is looked for only where the stored run tells of one.
        """
        benches = compared_benchmark.get("benchmarks") or []
        ours = [bench for bench in benches if KEY in (bench.get("extra_info") or {})]
        self.stored.update(bench["fullname"] for bench in ours)
        if not benchmarksession.disabled and not is_worker(config):  # else nothing is measured and compared
            self._compare_machines(machine_info, compared_benchmark, benchmarksession.storage)
        # Our part is judged: pytest-benchmark, which warns of any difference, is left to judge its own.
        info = {name: value for name, value in compared_benchmark["machine_info"].items() if name != KEY}
        now = {KEY: machine_info[KEY]} if KEY in machine_info else {}
        compared_benchmark["machine_info"] = {**info, **now}
        if ours:
            from pytest_trt.bench.history import reasons_of

            when = str(compared_benchmark.get("datetime", ""))[:19]
            wrong = {id(bench): reasons for bench in ours if (reasons := reasons_of(bench))}
            for bench in ours:
                if id(bench) in wrong:
                    told = (f"stored {when}", tuple(wrong[id(bench)]))
                    self.unreliable_before.setdefault(bench["fullname"], []).append(told)
            compared_benchmark["benchmarks"] = [bench for bench in benches if id(bench) not in wrong]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Take out of the comparison what is unreliable now, before pytest-benchmark compares."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[DESELECTED] = self.deselected
        plugin: Any = session.config.pluginmanager.get_plugin("pytest-benchmark")
        if plugin is not None:
            self._take_out(plugin)
        return (yield)

    def pytest_trt_make_problems(self, config: pytest.Config) -> list[str]:
        """Tell of the benchmarks in the summary; a gate that could judge none of them fails the session."""
        plugin: Any = config.pluginmanager.get_plugin("pytest-benchmark")
        problems = [] if plugin is None else self._find_problems(plugin)
        summary: Any = config.pluginmanager.get_plugin("trt-summary")
        if summary is not None:
            self._tell(summary.ledger)
        return problems

    def _compare_machines(self, machine_info: dict[str, Any], run: Mapping[str, Any], storage: Any) -> None:
        stored = run["machine_info"].get(KEY)
        if not (isinstance(stored, Mapping) and stored.get("id")):
            return
        now = machine_info.get(KEY) or self._describe(machine_info)
        if not now or now["id"] == stored["id"]:
            return
        if self.session.settings.compare != "any":
            raise pytest.UsageError(str(_refusal(now, stored, storage)))
        self.others.append((now["id"], stored["id"]))

    def _describe(self, machine_info: dict[str, Any]) -> dict[str, Any] | None:
        """Put our part into a machine info and return it, None where nothing executes."""
        from pytest_trt.bench.machine import describe_machine, name_cpu

        try:
            discovery, gpu = self.session.discovery, self.session.gpu
        except TrtError:  # each test that needs it fails with the same words
            return None
        executor, builder = discovery.executor, discovery.builder
        if executor is None:
            return None
        found = describe_machine(
            executor.title,
            executor.device,
            gpu.name,
            emulated=bool(executor.emulated),
            builder=None if builder is None else builder.title,
            cpu=name_cpu(machine_info),
            faults=self.session.settings.faults,
        )
        machine_info[KEY] = found
        return found

    def _take_out(self, plugin: Any) -> None:
        from pytest_trt.bench.history import reasons_of

        mappings = list((plugin.compared_mapping or {}).values())
        for bench in plugin.benchmarks:
            if not bench or KEY not in bench.extra_info:
                continue
            reasons = self.measured[bench.fullname] = reasons_of({"extra_info": bench.extra_info})
            for mapping in mappings:
                if bench.fullname in mapping and not reasons:
                    self.judged.add(bench.fullname)
                elif bench.fullname in mapping:
                    del mapping[bench.fullname]

    def _find_problems(self, plugin: Any) -> list[str]:
        if not (plugin.compare and plugin.compare_fail) or self.judged or plugin.compared_mapping is None:
            return []
        if not self.stored and not self.measured:
            return []  # no run has benchmarks of ours
        begin = (
            "--benchmark-compare-fail compared no benchmark of ours, and what cannot be judged is no pass:"
        )
        if plugin.disabled or plugin.skip:
            off = "benchmarks are switched off, by -n, --benchmark-disable or --benchmark-skip"
            return [f"{begin} {off}"]
        if self.measured:
            kinds = (
                ("unreliable now", [name for name, reasons in self.measured.items() if reasons]),
                (
                    "unreliable when stored",
                    [name for name in self.measured if name in self.unreliable_before],
                ),
                ("not in the stored run", [name for name in self.measured if name not in self.stored]),
            )
            counts = ", ".join(f"{len(names)} {words}" for words, names in kinds if names)
            return [f"{begin} of {len(self.measured)} measured, {counts}; measure again on an idle machine"]
        if self.deselected:
            return [f"{begin} {_tests(self.deselected)} deselected; run with -m {MARKER}"]
        return []

    def _find_shared(self) -> dict[str, int]:
        """Return the reasons that several benchmarks have now, told once for all of them, with how many have each."""
        counted = Counter(reason for reasons in self.measured.values() for reason in reasons)
        return {reason: count for reason, count in counted.items() if count >= SHARED}

    def _tell(self, ledger: Ledger) -> None:
        lines = []
        if self.deselected:
            lines.append(f"benchmarks, run with -m {MARKER}: {_tests(self.deselected)} deselected")
        for now, stored in dict.fromkeys(self.others):
            lines += [
                "compared although the machines differ (--trt-compare=any):",
                f"now {now}",
                f"stored {stored}",
            ]
        verdict = "unreliable, not compared" if self.stored else "unreliable"
        shared = self._find_shared()
        lines += [f"{verdict}: {count} benchmarks: {reason}" for reason, count in shared.items()]
        for name, reasons in self.measured.items():
            words = []
            for when, each in (("now", reasons), *self.unreliable_before.get(name, ())):
                own = [reason for reason in each if reason not in shared]
                words += [f"{when}: {'; '.join(own)}"] if own else []
            if words:
                lines.append(f"{verdict}: {name}: {' | '.join(words)}")
        if not lines:
            return
        from pytest_trt.report.plain import to_text
        from pytest_trt.report.sections import SECTION, make_section

        section = to_text(make_section({"title": "benchmarks", "text": lines}))
        ledger.records.insert(
            0, ("of this session", SECTION, section)
        )  # a long summary shows the first sections


def _refusal(now: Mapping[str, Any], stored: Mapping[str, Any], storage: Any) -> SettingsError:
    from pytest_trt.bench.history import machine_of
    from pytest_trt.bench.machine import find_differences

    fitting = [
        str(path) for path, data in storage.load() if machine_of(data.get("machine_info") or {}) == now["id"]
    ]
    number = Path(fitting[-1]).name.partition("_")[0] if fitting else ""
    other = (
        f"compare with the latest run of this machine, --benchmark-compare={number}"
        if number
        else "store a run of this machine first, --benchmark-autosave"
    )
    return SettingsError(
        "--benchmark-compare: the stored run is of another machine, and times of two machines are not compared",
        why=[f"now      {now['id']}", f"stored   {stored['id']}"]
        + [f"differs  {line}" for line in find_differences(now, stored)],
        mend=f"{other}; or compare all the same, --trt-compare=any",
    )


def _tests(count: int) -> str:
    return f"{count} test" if count == 1 else f"{count} tests"
