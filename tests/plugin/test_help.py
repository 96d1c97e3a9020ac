"""Everything is in `--help`, `--markers` and `--fixtures`."""

from __future__ import annotations

from pytest_trt import plugin
from pytest_trt.options import OPTIONS
from tests.plugin.conftest import Trt


def test_help(trt: Trt) -> None:
    text = trt.run("--help").stdout.str()
    for option in OPTIONS:
        assert option.flag in text
        assert f"env {option.variable}" in " ".join(text.split())
        assert f"as {option.flag}" in text, "the ini key"


def test_markers(trt: Trt) -> None:
    text = trt.run("--markers").stdout.str()
    for name in ("trt_precision", "gpu", "trt_model", "trt_tolerance", "trt_data", "faq", "bug"):
        assert f"@pytest.mark.{name}(" in text


def test_fixtures(trt: Trt) -> None:
    text = trt.run("--fixtures").stdout.str()
    names = ["engine", "context", "stream"]
    names += [name for name in vars(plugin) if name.startswith("trt_")]
    assert len(names) >= 15
    for name in names:
        assert any(line.startswith(name) for line in text.splitlines())
        assert (vars(plugin)[name].__doc__ or "").strip()
    assert "no docstring available" not in text
