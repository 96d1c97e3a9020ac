"""Runs of pytest in a fresh folder, with the plugin and with a fake workbench behind it."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis  # noqa: F401  imported here, because an inner session forgets what it imported first
import numpy  # noqa: F401
import onnx  # noqa: F401
import onnxruntime.quantization  # noqa: F401
import pytest

import pytest_trt
import pytest_trt.bench.measure  # a package keeps what an inner session put into it, and forgets that it is imported
import pytest_trt.bench.profile
import pytest_trt.emulator.host
import pytest_trt.hardware
from pytest_trt.options import OPTIONS

with suppress(ImportError):  # the same holds for what draws the plots of a report
    import jinja2  # noqa: F401
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401

ROOT = Path(pytest_trt.__file__).parent.parent
FAKES = Path(__file__).with_name("fakes.py")
SHOW = """
    import json
    from dataclasses import asdict
    import pytest
    pytestmark = [pytest.mark.faq(1), pytest.mark.faq(7), *map(pytest.mark.bug, ("B02", "B03", "OURS-17"))]
    def test_show(trt_settings):
        plain = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(trt_settings).items()}
        print("SETTINGS" + json.dumps(plain))
"""


class Trt:
    """One folder with tests in it, and ways to run them."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        self.have()

    def have(self, *things: str) -> None:
        """Say what the machine of the inner session has (see fakes.py)."""
        self.monkeypatch.setenv("FAKE_TRT", ",".join(things))

    def tests(self, text: str, **files: str) -> None:
        """Write `test_it.py`, and other test files by name."""
        self.pytester.makepyfile(test_it=text, **files)

    def run(self, *args: str) -> pytest.RunResult:
        """Run pytest in this process, with our plugin and no other."""
        ours = ("-p", "pytest_trt.plugin", "-p", "no:cacheprovider")
        quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # it is imported in this process already
        return self.pytester.runpytest_inprocess(*ours, *quiet, *args)

    def run_apart(self, *args: str) -> pytest.RunResult:
        """Run pytest in a process of its own, with our plugin as an installed one."""
        return self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *args, timeout=60)

    def settings(self, *args: str) -> dict[str, Any]:
        """Return the settings that an inner session with these arguments has."""
        self.pytester.makepyfile(test_show=SHOW)
        result = self.run("-s", "-q", "test_show.py", *args)
        assert result.ret == 0, result.stdout.str() + result.stderr.str()
        line = next(line for line in result.outlines if "SETTINGS" in line)
        plain: dict[str, Any] = json.loads(line.partition("SETTINGS")[2].rstrip("."))
        return plain

    def refusal(self, *args: str) -> str:
        """Return the usage error that ends an inner session with these arguments."""
        self.pytester.makepyfile(test_show=SHOW)
        result = self.run(*args)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
        return result.stderr.str()

    def ini(self, text: str) -> None:
        """Write the ini file."""
        self.pytester.makeini("[pytest]\n" + text)


@pytest.fixture
def trt(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Trt:
    """A folder whose inner sessions have fake runtimes, no GPU, and none of the caller's variables."""
    bare = make_bare(pytester, monkeypatch)
    bare.pytester.makeconftest(FAKES.read_text(encoding="utf-8"))
    return bare


@pytest.fixture
def bare_trt(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Trt:
    """As `trt`, with the real runtimes of this machine."""
    return make_bare(pytester, monkeypatch)


def make_bare(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Trt:
    """Return a folder for inner sessions; the plugin is installed in it as far as pytest can tell."""
    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.mkdir("cache")))
    installed = pytester.mkdir("installed")
    info = installed / "pytest_trt-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-trt\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pytest11]\ntrt = pytest_trt.plugin\n")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{':' if sys.platform != 'win32' else ';'}{installed}")
    pytest_trt.hardware.detect.cache_clear()
    return Trt(pytester, monkeypatch)


@pytest.fixture(autouse=True)
def forget_gpus() -> Any:
    """What inner sessions saw of GPUs does not reach other tests."""
    yield
    pytest_trt.hardware.detect.cache_clear()
