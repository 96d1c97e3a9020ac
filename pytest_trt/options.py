"""The options: their table, and the place where command line, environment and ini file become `Settings`."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_trt.errors import SettingsError
from pytest_trt.option_words import (
    Parse,
    Source,
    one_of,
    parse_claims,
    parse_data,
    parse_device,
    parse_emulate,
    parse_faults,
    parse_folder,
    parse_gpu,
    parse_product,
    parse_require,
    parse_seed,
    parse_store,
    parse_text,
    some_of,
)
from pytest_trt.settings import (
    ALLOWANCES,
    BATTERIES,
    BUDGETS,
    DATA_KINDS,
    GOLDENS,
    GOOD_CLAIMS,
    PRECISIONS,
    RUNGS,
    RUNTIMES,
    Settings,
)

if TYPE_CHECKING:
    import pytest

LOG_LEVELS = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
SEED_KEY = "trt_seed"


class Option(NamedTuple):
    """One option: its flag, its ini key (upper case: its environment variable), its field of `Settings`.

    `parse` takes the words that were given and raises `SettingsError`. A `many` option is a comma list and
    may be repeated; any other takes its last word.
    """

    flag: str
    key: str
    field: str
    metavar: str
    help: str
    parse: Parse
    many: bool = False

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return self.key.upper()


OPTIONS: tuple[Option, ...] = (
    Option(
        "--trt-precision",
        "trt_precision",
        "precisions",
        "LIST",
        f"precisions to run: {', '.join(PRECISIONS)}; default fp32,fp16,int8",
        some_of(PRECISIONS),
        many=True,
    ),
    Option(
        "--gpu",
        "trt_gpu",
        "gpu",
        "CLASS",
        "GPU class expected (t4, a100, ...); emulated where there is no GPU, a usage error on a GPU of "
        "another class; default auto: the real GPU's class, else t4",
        parse_gpu,
    ),
    Option(
        "--trt-runtime",
        "trt_runtime",
        "runtime",
        "NAME",
        f"who executes: {', '.join(RUNTIMES)}; default auto: TensorRT with a usable GPU, else TensorRT-RTX "
        "with one, else the emulator",
        one_of(RUNTIMES),
    ),
    Option(
        "--trt-device",
        "trt_device",
        "device",
        "DEVICE",
        "where the emulator computes: cpu, cuda:N; default cpu",
        parse_device,
    ),
    Option(
        "--trt-emulate",
        "trt_emulate",
        "emulate",
        "VERSION",
        "which TensorRT the emulator plays, for instance tensorrt-8.6.1 or tensorrt_rtx-1.7; a shortened "
        "version means the newest known of it; default tensorrt-10.13",
        parse_emulate,
    ),
    Option(
        "--trt-budget",
        "trt_budget",
        "budget",
        "NAME",
        "configurations per property test and precision: "
        + ", ".join(f"{budget.name} {budget.examples}" for budget in BUDGETS.values())
        + "; default quick",
        one_of(tuple(BUDGETS)),
    ),
    Option(
        "--trt-data",
        "trt_data",
        "data",
        "LIST",
        f"data battery ({', '.join(BATTERIES)}) or kinds of data: {', '.join(DATA_KINDS)}; default by budget",
        parse_data,
        many=True,
    ),
    Option(
        "--trt-require",
        "trt_require",
        "require",
        "LIST",
        "a test skipped for lack of it fails instead: gpu (a real one), build (a real TensorRT builds), "
        "execute (a real TensorRT executes; the emulator does not count), golden; default none",
        parse_require,
        many=True,
    ),
    Option(
        "--trt-rungs",
        "trt_rungs",
        "rungs",
        "LIST",
        f"rungs of the ladder that pass: {', '.join(RUNGS)}; default all, but where the tactic's name says "
        "direct",
        some_of(RUNGS),
        many=True,
    ),
    Option(
        "--trt-allow",
        "trt_allow",
        "allow",
        "LIST",
        "what a kernel may do besides: half (keep FP16 sums in FP16), ties (round an exact tie to either neighbour), "
        "flush (take subnormal numbers for zero), nan (lose a NaN in a sum); default none",
        some_of(ALLOWANCES),
        many=True,
    ),
    Option(
        "--trt-int8",
        "trt_int8",
        "int8",
        "HOW",
        "how INT8 is asked for: explicit (Q/DQ graph), implicit (a calibrator, where this TensorRT still has "
        "them); default explicit",
        one_of(("explicit", "implicit")),
    ),
    Option(
        "--trt-typing",
        "trt_typing",
        "typing",
        "HOW",
        "auto, weak (builder flags), strong (a typed graph); default auto: strong where this TensorRT has it",
        one_of(("auto", "weak", "strong")),
    ),
    Option(
        "--trt-hybrid",
        "trt_hybrid",
        "hybrid",
        "TYPE",
        "the type of what is not INT8 in int8 runs: off (float32), fp16, bf16; default off",
        one_of(("off", "fp16", "bf16")),
    ),
    Option(
        "--trt-constraints",
        "trt_constraints",
        "constraints",
        "HOW",
        "weak typing: give every layer the type that was asked for, and say how binding that is: off, prefer, obey "
        "(8.6, 10.x); default off: the builder may choose float32",
        one_of(("off", "prefer", "obey")),
    ),
    Option(
        "--trt-rewriter",
        "trt_rewriter",
        "rewriter",
        "NAME",
        "who writes types and Q/DQ into graphs: builtin, onnxruntime, modelopt (where it is installed); default builtin",
        one_of(("builtin", "onnxruntime", "modelopt")),
    ),
    Option(
        "--trt-seed",
        SEED_KEY,
        "seed",
        "N",
        "all drawing is repeatable from this integer; random prints the seed that it took; default 0",
        parse_seed,
    ),
    Option(
        "--trt-case",
        "trt_case",
        "case",
        "TEXT",
        "run the suites' property tests on this one configuration: the line that a failure printed",
        parse_text,
    ),
    Option(
        "--trt-claim",
        "trt_claim",
        "claims",
        "LIST",
        f"only the tests of these claims of the FAQ or public bugs: {GOOD_CLAIMS}; default all",
        parse_claims,
        many=True,
    ),
    Option(
        "--trt-golden",
        "trt_golden",
        "golden",
        "MODE",
        f"goldens: {', '.join(GOLDENS)}; default check, which never writes",
        one_of(GOLDENS),
    ),
    Option(
        "--trt-golden-dir",
        "trt_golden_dir",
        "golden_dir",
        "DIR",
        "where goldens are kept: a folder, a zip file or an fsspec URL; default golden/ beside the ini file",
        parse_store,
    ),
    Option(
        "--trt-golden-from",
        "trt_golden_from",
        "golden_from",
        "PRODUCT-VERSION",
        "check against the goldens of this product and version, for instance tensorrt-10.13; a shortened version means the "
        "newest that is kept of it; default: those of the TensorRT that runs",
        parse_product,
    ),
    Option(
        "--trt-compare",
        "trt_compare",
        "compare",
        "WHICH",
        "which stored runs --benchmark-compare compares with: same (of the same machine id), any; default same",
        one_of(("same", "any")),
    ),
    Option(
        "--trt-cache-dir",
        "trt_cache_dir",
        "cache_dir",
        "DIR",
        "folder of the plan cache; default: in the user's cache folder",
        parse_folder,
    ),
    Option(
        "--trt-report",
        "trt_report",
        "report_dir",
        "DIR",
        "write a report to this folder: index.html, report.md, report.json; default none",
        parse_folder,
    ),
    Option(
        "--trt-log",
        "trt_log",
        "log",
        "LEVEL",
        f"TensorRT's log messages that are kept: {', '.join(LOG_LEVELS)}; default WARNING",
        one_of(LOG_LEVELS, str.upper),
    ),
    Option(
        "--trt-fault",
        "trt_fault",
        "faults",
        "MODULE:CALLABLE",
        "emulator only, repeatable: inject a fault that the run has to catch; hypothesis then does not "
        "shrink",
        parse_faults,
        many=True,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini key."""
    group = parser.getgroup(
        "trt", "TensorRT (pytest-trt); each is also an ini key and an environment variable"
    )
    for option in OPTIONS:
        note = f" [ini {option.key}, env {option.variable}]"
        group.addoption(
            option.flag,
            dest=option.key,
            metavar=option.metavar,
            action="append" if option.many else "store",
            default=None,
            help=(option.help + note).replace("%", "%%"),
        )
        if option.many:
            parser.addini(option.key, f"as {option.flag}", type="args")
        else:
            parser.addini(option.key, f"as {option.flag}", type="string")


def _given(
    config: pytest.Config, option: Option, environ: Mapping[str, str], words: Namespace
) -> tuple[list[str], Source, bool] | None:
    """Return the words of an option, where they stand, and whether this very run asked (not the ini file)."""
    here = config.invocation_params.dir
    asked: Any = getattr(words, option.key, None)
    if asked is not None:
        return list(asked) if isinstance(asked, list) else [asked], Source(option.flag, here), True
    if environ.get(option.variable, "").strip():
        return [environ[option.variable]], Source(f"environment variable {option.variable}", here), True
    kept = config.getini(option.key)
    if kept:
        inipath = config.inipath
        source = Source(
            f"ini key {option.key}" + (f" of {inipath.name}" if inipath else ""),
            inipath.parent if inipath else here,
        )
        return ([str(word) for word in kept] if isinstance(kept, list) else [str(kept)]), source, False
    return None


def is_given(early_config: pytest.Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether any option, environment variable or ini key of ours has a value, before conftests load."""
    words = early_config.known_args_namespace
    return any(_given(early_config, option, environ, words) is not None for option in OPTIONS)


class Resolved(NamedTuple):
    """Settings, and whether this very run asked for some: by command line or environment, not by ini file."""

    settings: Settings
    asked: bool


def resolve(
    config: pytest.Config, environ: Mapping[str, str] = os.environ, seed: int | None = None
) -> Resolved:
    """Return the settings of a session.

    Parameters
    ----------
    config : pytest.Config
        Its command line and ini file.
    environ : mapping of str to str, optional
        An empty variable counts as not given, as does an empty ini key.
    seed : int, optional
        What `--trt-seed=random` becomes: the seed that the controller took, in an xdist worker.

    Raises
    ------
    SettingsError
        A value cannot be used; the message names the place, the value and the good ones.
    """
    values: dict[str, Any] = {}
    asked = False
    for option in OPTIONS:
        found = _given(config, option, environ, config.option)
        if found is not None:
            words, source, now = found
            values[option.field] = option.parse(words, source)
            asked = asked or now
    given = frozenset(values)
    if values.get("seed", 0) is None:
        values["seed"] = _draw_seed() if seed is None else seed
    if "data" not in values:
        values["data"] = BATTERIES[BUDGETS[values.get("budget", "quick")].battery]
    settings = Settings(**values, given=given)
    if settings.faults and settings.runtime in ("tensorrt", "tensorrt_rtx"):
        raise SettingsError(
            f"--trt-fault does not work with --trt-runtime={settings.runtime}",
            why="faults are injected into the emulator; a real TensorRT runs what it built",
            mend="give --trt-runtime=emulator",
        )
    if settings.golden_from is not None and settings.golden not in ("check", "off"):
        raise SettingsError(
            f"--trt-golden-from does not work with --trt-golden={settings.golden}",
            why="goldens of another version are compared with; those of this one are written",
            mend="leave one of the two out",
        )
    return Resolved(settings, asked)


def _draw_seed() -> int:
    import secrets  # only for --trt-seed=random

    return secrets.randbelow(2**31)
