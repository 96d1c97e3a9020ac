"""A thread of a check that fails is the failure of the check, whatever it fails with."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_trt.check import plugins, said
from pytest_trt.errors import ExecutionError


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_a_thread_of_a_plugin_that_fails_otherwise_than_by_its_run_is_no_success(monkeypatch):
    monkeypatch.setattr(plugins, "wanted", lambda x, route, fields: x)
    broken, refused = (SimpleNamespace(run=failing(error("no"))) for error in (TypeError, ExecutionError))
    with pytest.raises(TypeError, match="no"):
        plugins._run_threads([broken], "name", {})
    right = SimpleNamespace(run=lambda feeds: {"y": np.copy(feeds["x"])})
    assert plugins._run_threads([right, refused], "name", {}) == ["context 2, run 1: no"]


def test_a_build_beside_another_that_fails_says_so_itself(monkeypatch):
    monkeypatch.setattr(said, "clean_build", failing(ValueError("of the good model")))
    monkeypatch.setattr(said, "empty_network", lambda rt, model: {"lines": []})
    with pytest.raises(ValueError, match="of the good model"):
        said.two_threads(None, b"")
