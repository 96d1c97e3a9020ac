"""How a session can be told to run: with execute_v2, and on another poison."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import ExecutionError, UsageError
from pytest_trt.runtime import Session

from . import fake_engine
from .fake_engine import Engine, engine_runtime

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What execute_v2 got, one list a run; the run is done at once."""
    given: list[list[int]] = []

    def execute_v2(self: Any, bindings: list[int]) -> bool:
        given.append(list(bindings))
        self.addresses = dict(zip("xy", bindings, strict=True))
        self._compute()
        return bool(self._answer("execute_v2"))

    monkeypatch.setattr(fake_engine.Context, "execute_v2", execute_v2, raising=False)
    return given


def session(wrong: str = "", data_dependent: bool = False) -> Session:
    rt = engine_runtime()
    return Session(rt, Engine(rt.trt, wrong, data_dependent))


def test_a_synchronous_run_gets_the_addresses_in_the_order_of_the_engine(bindings: list[list[int]]) -> None:
    with session() as made:
        for batch in (2, 1):
            np.testing.assert_array_equal(made.run({"x": X[:batch]}, synchronous=True)["y"], X[:batch] * 2)
        addresses = made.context.addresses
        assert bindings[-1] == [addresses["x"], addresses["y"]]


def test_a_synchronous_run_that_fails_is_an_error(bindings: list[list[int]]) -> None:
    with session("execute_v2") as made, pytest.raises(ExecutionError, match="execute_v2 returned False"):
        made.run({"x": X}, synchronous=True)


def test_a_synchronous_run_has_no_output_allocator(bindings: list[list[int]]) -> None:
    with (
        session(data_dependent=True) as made,
        pytest.raises(UsageError, match="a shape that depends on values"),
    ):
        made.run({"x": X}, synchronous=True)
    assert bindings == []


def test_what_is_not_written_holds_the_poison() -> None:
    with session("writes nothing") as made:
        assert np.isnan(made.run({"x": X})["y"]).all()
        assert made.run({"x": X}, poison=0x3C)["y"].tobytes() == b"\x3c" * X.nbytes
