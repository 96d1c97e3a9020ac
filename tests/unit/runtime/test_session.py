"""A session checks every answer of TensorRT and every byte that it did not ask for."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import ExecutionError, InputError, ProfileError, RuntimeMissingError, UsageError
from pytest_trt.runtime import Plan, Session, load_engine
from pytest_trt.runtime.session import FRONT_BYTES

from .fake_engine import Engine, engine_runtime
from .fake_trt import FakeTrt, fake_runtime

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def session(wrong: str = "", data_dependent: bool = False, **options: Any) -> Session:
    rt = engine_runtime()
    return Session(rt, Engine(rt.trt, wrong, data_dependent), **options)


def test_arrays_in_and_arrays_out() -> None:
    with session() as made:
        assert list(made.inputs) == ["x"] and list(made.outputs) == ["y"]
        first = made.run({"x": X})
        second = made.run({"x": X[:1] + 1})
        np.testing.assert_array_equal(first["y"], X * 2)
        np.testing.assert_array_equal(second["y"], (X[:1] + 1) * 2)
        assert first["y"].flags.owndata or first["y"].base is not None
        first["y"][:] = 0
        np.testing.assert_array_equal(made.run({"x": X})["y"], X * 2)


def test_buffers_grow_and_shrink_with_the_batch() -> None:
    with session() as made:
        for batch in (1, 4, 2, 3):
            x = np.full((batch, 3), batch, np.float32)
            np.testing.assert_array_equal(made.run({"x": x})["y"], x * 2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("set_input_shape", "did not take shape (2, 3) for input 'x'"),
        ("set_tensor_address", "did not take an address for 'x'"),
        ("infer_shapes", "shapes or values are missing for 'x'"),
        ("execute_async_v3", "execute_async_v3 returned False"),
    ],
)
def test_each_return_code_is_checked(wrong: str, words: str) -> None:
    with session(wrong) as made, pytest.raises(ExecutionError) as caught:
        made.run({"x": X})
    assert words in caught.value.what
    assert caught.value.why == (f"{wrong} went wrong",)


def test_an_error_that_is_only_logged_counts() -> None:
    with session("logged") as made, pytest.raises(ExecutionError) as caught:
        made.run({"x": X})
    assert caught.value.why == ("an illegal memory access",)


def test_no_context_and_no_profile() -> None:
    with pytest.raises(ExecutionError, match="made no execution context") as caught:
        session("create_execution_context")
    assert caught.value.why == ("no memory for a context",)
    with pytest.raises(ExecutionError, match="did not take optimization profile 1"):
        session("set_optimization_profile_async", profile_index=1)
    with pytest.raises(ProfileError, match="no optimization profile 2"):
        session(profile_index=2)


def test_the_second_profile_is_set_and_its_limits_hold() -> None:
    with session(profile_index=1) as made:
        assert made.engine.contexts[0].profiles == [1]
        made.run({"x": np.zeros((5, 3), np.float32)})
    with session() as made, pytest.raises(ProfileError):
        made.run({"x": np.zeros((5, 3), np.float32)})


def test_an_output_that_is_not_written_is_nan_in_every_run() -> None:
    with session() as made:
        made.run({"x": X})
        made.engine.wrong = "writes nothing"
        assert np.isnan(made.run({"x": X})["y"]).all()


def test_a_write_behind_the_end_is_found() -> None:
    with (
        session("writes behind") as made,
        pytest.raises(ExecutionError, match="behind the end of output 'y'") as caught,
    ):
        made.run({"x": X})
    assert "the first at byte 27 of 24" in caught.value.why[0]


def test_a_write_before_the_start_is_found() -> None:
    with (
        session("writes before") as made,
        pytest.raises(ExecutionError, match="before the start of output 'y'") as caught,
    ):
        made.run({"x": X})
    assert "the first at byte -5 of 24" in caught.value.why[0]


def test_an_output_whose_size_is_found_at_run_time() -> None:
    with session(data_dependent=True) as made:
        assert made.run({"x": X})["y"].tolist() == [[0.0, 2.0, 4.0]]
        four = np.ones((4, 3), np.float32)
        assert made.run({"x": four})["y"].shape == (2, 3)
        made.engine.wrong = "no shape"
        with pytest.raises(ExecutionError, match="did not tell the shape of output 'y'"):
            made.run({"x": X})
    with (
        session("set_output_allocator", True) as made,
        pytest.raises(ExecutionError, match="output allocator"),
    ):
        made.run({"x": X})


def test_an_allocator_without_memory_is_told_outside_the_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    with session(data_dependent=True) as made:
        made.run({"x": X})
        allocator = made._allocators["y"]
        monkeypatch.setattr(made.memory, "alloc", lambda nbytes: (_ for _ in ()).throw(MemoryError("full")))
        assert allocator.reallocate(1 << 40) == 0
        with pytest.raises(ExecutionError, match="no memory for output 'y': full"):
            allocator.take("y", np.float32)


def test_an_output_in_host_memory_is_refused() -> None:
    with session("output on host") as made, pytest.raises(InputError, match="lives in host memory"):
        made.run({"x": X})


def test_an_input_in_host_memory_is_given_a_host_address() -> None:
    with session("input on host") as made:
        assert made.inputs["x"].on_host and made.inputs["x"].profile is None
        np.testing.assert_array_equal(made.run({"x": X})["y"], X * 2)
        assert "x" not in made._buffers


def test_a_second_thread_is_refused_with_both_ids() -> None:
    made = session()
    inside, leave = threading.Event(), threading.Event()
    made.engine.hook = lambda: (inside.set(), leave.wait(10))
    thread = threading.Thread(target=made.run, args=({"x": X},))
    thread.start()
    inside.wait(10)
    with pytest.raises(UsageError) as caught:
        made.run({"x": X})
    leave.set()
    thread.join()
    assert str(thread.ident) in caught.value.what and str(threading.get_ident()) in caught.value.what
    made.engine.hook = None
    np.testing.assert_array_equal(made.run({"x": X})["y"], X * 2)


def test_closing_lets_go_of_everything_and_twice_is_no_error() -> None:
    made = session()
    made.run({"x": X})
    engine, context = weakref.ref(made.engine), weakref.ref(made.context)
    stream = made.stream
    made.close()
    made.close()
    gc.collect()
    assert engine() is None and context() is None
    assert not made.rt.trt.emulated_streams.is_known(stream.handle)
    with pytest.raises(UsageError, match="closed"):
        made.run({"x": X})


def test_a_plan_that_does_not_load() -> None:
    rt = engine_runtime(fail="deserialize_cuda_engine")
    with pytest.raises(ExecutionError, match="did not load the plan of 4 bytes") as caught:
        load_engine(rt, Plan(b"plan"))
    assert caught.value.why == (rt.trt.says,)
    with pytest.raises(RuntimeMissingError, match="only builds here"):
        Session(fake_runtime(FakeTrt()), object())


@pytest.mark.parametrize(("start", "words"), [(-1, "before the start"), (24 + 63, "behind the end")])
def test_a_write_between_two_runs_is_found_by_the_second_and_not_by_a_third(start: int, words: str) -> None:
    with session() as made:
        made.run({"x": X})
        place = FRONT_BYTES + start
        made.memory.poison(made._buffers["y"], 0, made.stream, place, place + 1)
        with pytest.raises(ExecutionError, match=f"wrote {words} of output 'y'"):
            made.run({"x": X})
        np.testing.assert_array_equal(made.run({"x": X})["y"], X * 2)


def test_guards_follow_an_output_that_changes_its_size() -> None:
    with session() as made:
        for batch in (4, 1, 4, 2):
            made.engine.wrong = ""
            made.run({"x": np.ones((batch, 3), np.float32)})
            made.engine.wrong = "writes behind"
            with pytest.raises(ExecutionError, match="behind the end"):
                made.run({"x": np.ones((batch, 3), np.float32)})


def test_runs_that_are_launched_again_are_checked_by_the_next_run() -> None:
    with session() as made:
        made.run({"x": X})
        made.engine.wrong = "writes before"
        made.launch(3)
        made.memory.settle(made.stream)
        made.engine.wrong = ""
        with pytest.raises(ExecutionError, match="before the start"):
            made.run({"x": X})
    with session("execute_async_v3") as made, pytest.raises(UsageError, match="nothing to launch"):
        made.launch()
