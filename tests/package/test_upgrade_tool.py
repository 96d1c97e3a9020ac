"""tools/upgrade.py: which commands it runs, with which goldens."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

import pytest_trt
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BUILD, Golden
from pytest_trt.golden.store import open_store

ROOT = Path(pytest_trt.__file__).parent.parent


@pytest.fixture(scope="module")
def tool():
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tools" / "upgrade.py"), run_name="tool"))


def test_the_older_python_records_and_this_one_checks_against_it(tool):
    store, report = Path("/goldens"), Path("/report")
    record = tool.record_command("older/python", store, ["-x"])
    check = tool.check_command("python", store, "tensorrt_rtx-1.6.1.120", report)
    assert record[0] == "older/python" and "--trt-golden=record" in record and record[-1] == "-x"
    assert {"--trt-golden=check", "--trt-golden-from=tensorrt_rtx-1.6.1.120", "--trt-report=/report"} <= set(
        check
    )
    for command in (record, check):
        assert {tool.TESTS, f"--trt-golden-dir={store}", *tool.OPTIONS} <= set(command)
    assert (ROOT / tool.TESTS).is_file()


def test_a_store_of_one_version_is_what_it_compares_with(tool, tmp_path):
    with pytest.raises(SystemExit, match="nothing"):
        tool.recorded_product(tmp_path)
    for number, product in enumerate(("tensorrt_rtx-1.6.1.120", "tensorrt_rtx-1.7.1.116")):
        open_store(tmp_path).save(
            Golden(Key("case", "fp32", "l4", product), BUILD, facts={"outcome": "built"})
        )
        if number == 0:
            assert tool.recorded_product(tmp_path) == product
    with pytest.raises(SystemExit, match="one version"):
        tool.recorded_product(tmp_path)


def test_the_packages_that_both_share_are_those_of_this_python(tool):
    assert tool.find_version("pytest") == pytest.__version__
    assert tool.find_version("no-such-package-anywhere") is None


def test_nothing_is_checked_where_the_record_failed(tool, tmp_path, monkeypatch):
    ran = []
    globals_ = tool.main.__globals__
    monkeypatch.setitem(globals_, "make_environment", lambda venv, requirements: "older")
    monkeypatch.setitem(globals_, "run", lambda command, **more: ran.append(command) or 3)
    assert tool.main(["--report", str(tmp_path), "--from", "some==1"]) == 3
    assert len(ran) == 1
