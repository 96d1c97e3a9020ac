"""The documents say what is so: commands, options, markers, classes, examples."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_trt import hardware, hookspecs
from pytest_trt.options import OPTIONS
from pytest_trt.records import PRECISIONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MANUAL = (ROOT / "docs/options.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "docs/examples").glob("test_*.py"))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs_and_passes(example: Path, tmp_path: Path) -> None:
    (tmp_path / example.name).write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rA",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            example.name,
        ]
        + ([] if _plugin_is_installed() else ["-p", "pytest_trt.plugin"]),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRT_RUNTIME": "emulator"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d passed", done.stdout) and "skipped" not in done.stdout, done.stdout


def test_first_test_of_the_readme_is_an_example() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert (ROOT / "docs/examples/test_my_model.py").read_text(encoding="utf-8") in blocks


def test_ci_runs_the_test_command_of_the_readme() -> None:
    found = re.search(r"\.venv/bin/(pytest tests.*)$", README, flags=re.MULTILINE)
    assert found is not None
    assert found[1].replace("tests", "tests -q") in (ROOT / ".ci/run").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_every_option_is_documented_in_both_tables(option: object) -> None:
    flag: str = option.flag  # type: ignore[attr-defined]
    assert f"`{flag}`" in README
    assert f"| `{flag}` |" in MANUAL


def test_no_document_names_an_option_that_does_not_exist() -> None:
    known = {option.flag for option in OPTIONS}
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.yml")]:
        named = set(re.findall(r"--(?:trt-[a-z0-9-]+|gpu(?=[=`\s]))", path.read_text(encoding="utf-8")))
        assert named <= known, f"{path}: {sorted(named - known)}"


def test_every_hook_is_documented() -> None:
    manual = (ROOT / "docs/hooks.md").read_text(encoding="utf-8")
    hooks = {name for name in vars(hookspecs) if name.startswith("pytest_trt_")}
    assert hooks and hooks == set(re.findall(r"^\| `(pytest_trt_\w+)\(", manual, flags=re.MULTILINE))


def test_class_table_is_the_one_in_use() -> None:
    for name in hardware.names():
        kind = hardware.get(name)
        precisions = " ".join(word for word in PRECISIONS if word in kind.precisions)
        assert re.search(
            rf"^\| `{name}`.* \| {re.escape(kind.title)} \| {kind.capability} \| {precisions} \|$",
            MANUAL,
            flags=re.MULTILINE,
        ), name


def test_links_between_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (path.parent / target).exists(), f"{path}: {target}"


def _plugin_is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(point.value == "pytest_trt.plugin" for point in entry_points(group="pytest11"))


def test_the_page_of_claims_is_what_its_tool_writes() -> None:
    spec = importlib.util.spec_from_file_location("claims_page", ROOT / "tools/claims_page.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text(encoding="utf-8") == tool.render(), "run python tools/claims_page.py"
