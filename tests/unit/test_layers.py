"""Imports point down only, and every module imports alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_trt

ROOT = Path(pytest_trt.__file__).parent

# From the bottom up; rooms of one row do not know each other. Above them, the modules that lie in the package's own
# folder are the plugin layer: they may know each other.
LAYERS = (
    ("settings", "errors", "toml"),
    ("records",),
    ("hardware", "numerics"),
    ("emulator",),
    ("precision",),
    ("lint",),
    ("runtime",),
    ("check",),
    ("golden",),
    ("bench",),
    ("strategies",),
    ("cases",),
    ("bite",),
    ("report",),
    ("cli",),
)
TOP = len(LAYERS)
LEVEL = {path.stem: TOP for path in ROOT.glob("*.py") if not path.stem.startswith("__")}
LEVEL |= {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
HEAVY = ("numpy", "onnx", "onnxruntime", "hypothesis", "tensorrt", "tensorrt_rtx", "pycuda", "pynvml")


def modules() -> list[str]:
    """Every module of the package; the suites are a program of their own, on top of it."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        if "suites" not in parts:
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported_rooms(module: str) -> Iterator[tuple[int, str]]:
    """Line and room of each import of ours, also those inside of functions and under TYPE_CHECKING."""
    path = ROOT.parent.joinpath(*module.split("."))
    package = module if path.is_dir() else module.rpartition(".")[0]
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: 1 - node.level or None]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "pytest_trt" and room_of(name) in LEVEL:
                yield node.lineno, room_of(name)


def test_every_room_has_a_layer() -> None:
    rooms = {room_of(module) for module in modules()} - {"", "__main__"}
    assert {"errors", "runtime", "plugin"} <= rooms
    assert rooms <= set(LEVEL), f"give these a layer: {sorted(rooms - set(LEVEL))}"


@pytest.mark.parametrize("module", [name for name in modules() if room_of(name) not in ("", "__main__")])
def test_imports_point_down(module: str) -> None:
    room = room_of(module)
    for line, other in imported_rooms(module):
        if other == room or LEVEL[room] == LEVEL[other] == TOP:
            continue
        assert LEVEL[other] < LEVEL[room], f"{module}:{line} imports {other}, which is not below {room}"


@pytest.mark.parametrize("module", [name for name in modules() if room_of(name) == "emulator"])
def test_emulator_knows_nothing_of_rewrites(module: str) -> None:
    rooms = {room for _, room in imported_rooms(module)}
    assert rooms <= {"emulator", "errors", "records", "hardware"}


@pytest.mark.parametrize(
    "module", [name for name in modules() if room_of(name) not in ("runtime", "emulator")]
)
def test_cuda_is_imported_by_the_adapter_and_the_emulator_only(module: str) -> None:
    path = ROOT.parent.joinpath(*module.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.split(".")[0] in ("pycuda", "tensorrt", "tensorrt_rtx")]


def test_each_module_imports_alone() -> None:
    """One child per room: in each, every module of it is imported after all of ours are forgotten."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for ours in [m for m in sys.modules if m.split('.')[0] == 'pytest_trt']:\n"
        "        del sys.modules[ours]\n"
        "    importlib.import_module(name)\n"
    )
    names = [name for name in modules() if name != "pytest_trt.__main__"]
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:pytest_trt", "-c", code, *names],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT.parent), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "module", ["pytest_trt", "pytest_trt.plugin", "pytest_trt.hardware", "pytest_trt.cli"]
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT.parent), "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
