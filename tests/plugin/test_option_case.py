"""`--trt-case`: one configuration, replayed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_trt.fixtures import replay_of
from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence


def test_precedence(trt: Trt) -> None:
    check_precedence(
        trt, "--trt-case", None, (("conv2d-a", "conv2d-a"), ("gemm-b", "gemm-b"), ("Pool-c", "Pool-c"))
    )


def test_what_is_no_case_is_a_usage_error_of_the_suites(bare_trt: Trt) -> None:
    result = bare_trt.run_apart(
        "-p", "trt", "--pyargs", "pytest_trt.suites", "--trt-case=conv2x-n1", "--gpu=t4"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --trt-case: no case family 'conv2x' in 'conv2x-n1'", "*did you mean 'conv2d'?"]
    )


def test_a_failure_is_repeated_where_it_was_seen(tmp_path: Path) -> None:
    folder = tmp_path / "suites"
    folder.mkdir()

    def replay(here: Path, label: str) -> str:
        config = SimpleNamespace(invocation_params=SimpleNamespace(dir=here))
        item: Any = SimpleNamespace(
            path=folder / "test_x.py", nodeid="suites/test_x.py::test_a[fp16]", config=config
        )
        return replay_of(item, label)

    own = "pytest 'suites/test_x.py::test_a[fp16]'"
    assert replay(tmp_path, "gemm-n1") == own, "a folder of the user's own that is called suites"
    (folder / "test_case.py").touch()
    assert replay(tmp_path, "gemm-n1") == "pytest suites --trt-case=gemm-n1"
    assert replay(folder, "gemm-n1") == "pytest --pyargs pytest_trt.suites --trt-case=gemm-n1"
    assert replay(tmp_path, "") == own


def test_empty(trt: Trt) -> None:
    assert "paste the line" in trt.refusal("--trt-case=")
