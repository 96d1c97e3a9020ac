"""How a session can be told to run: with execute_v2, and on another poison."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import ExecutionError, InputError, UsageError
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


def test_an_enqueued_run_is_taken_once_and_before_the_next() -> None:
    with session() as made:
        take = made.enqueue({"x": X})
        with pytest.raises(UsageError, match="have not been taken"):
            made.run({"x": X})
        np.testing.assert_array_equal(take()["y"], X * 2)
        np.testing.assert_array_equal(made.run({"x": X + 1})["y"], (X + 1) * 2)


def test_a_run_on_another_stream_waits_for_that_one_alone() -> None:
    with session() as made:
        stream = made.memory.create_stream()
        take = made.enqueue({"x": X}, stream=stream)
        assert made.rt.trt.emulated_streams.is_idle(made.stream.handle)
        np.testing.assert_array_equal(take()["y"], X * 2)
    with session(data_dependent=True) as made, pytest.raises(UsageError, match="own stream only"):
        made.run({"x": X}, stream=made.memory.create_stream())


def test_inputs_are_overwritten_behind_what_is_enqueued_and_read_back() -> None:
    with session() as made:
        with pytest.raises(InputError, match="no buffer of 24 bytes for input 'x'"):
            made.overwrite_inputs({"x": X})
        take = made.enqueue({"x": X})
        made.overwrite_inputs({"x": X + 1})
        np.testing.assert_array_equal(take()["y"], X * 2)
        assert made.read_inputs()["x"].tobytes() == (X + 1).tobytes()


def test_a_replay_starts_the_run_by_other_means_on_poison() -> None:
    with session() as made:
        made.run({"x": X})
        again = made.replay(lambda: made.context.execute_async_v3(made.stream.handle), {"x": X + 1})
        np.testing.assert_array_equal(again["y"], (X + 1) * 2)
        assert np.isnan(made.replay(lambda: None, {"x": X})["y"]).all()
