"""Hooks come in pairs, and the example of each runs."""

from __future__ import annotations

import textwrap

import pytest

from pytest_trt import hookspecs
from tests.plugin.conftest import Trt


def examples() -> dict[str, str]:
    """The example in the docstring of each hook."""
    found = {}
    for name, hook in vars(hookspecs).items():
        if name.startswith("pytest_trt_"):
            text = textwrap.dedent(hook.__doc__ or "").partition("::\n")[2]
            found[name] = textwrap.dedent(text).strip() + "\n"
    return found


def test_pairs() -> None:
    names = set(examples())
    assert names
    for name in names:
        verb, thing = name.removeprefix("pytest_trt_").split("_")
        assert {f"pytest_trt_make_{thing}", f"pytest_trt_update_{thing}"} <= names, verb


@pytest.mark.parametrize("name", sorted(examples()))
def test_each_example_runs(trt: Trt, name: str) -> None:
    code = examples()[name]
    assert code.startswith("def ")
    if name in ("pytest_trt_make_discovery", "pytest_trt_make_workbench"):
        compile(code, name, "exec")  # these two are the defaults, run by the tests of the real workbench
        return
    path = trt.pytester.path / "conftest.py"
    path.write_text(path.read_text() + "\n" + code)
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    trt.run().assert_outcomes(passed=3)
