"""The emulator on a GPU, on fakes: runs are tied to the caller's stream by events, and contexts have sessions of their own."""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from pytest_trt import emulator
from pytest_trt.emulator import bridge, cuda
from pytest_trt.emulator.bridge import IDLE_KEPT
from pytest_trt.emulator.cuda import Either
from pytest_trt.errors import RuntimeMissingError

from .driver import Driver, sample
from .fake_cuda import Gpu, Run
from .models import conv


@pytest.fixture
def gpu(monkeypatch):
    return Gpu(monkeypatch)


def want(x):
    return Driver().once(conv(), x=x)["y"]


def test_a_run_comes_between_what_is_on_the_callers_stream(gpu):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    run.upload(stream)
    waited = list(gpu.library.waited)
    assert run.context.execute_async_v3(stream), driver.log.lines
    got = run.download(stream)
    assert gpu.library.waited == waited and np.isnan(got).all()  # nobody waits at an enqueue
    gpu.library.cuStreamSynchronize(stream)
    assert got.tobytes() == want(run.x).tobytes()
    (lane,) = gpu.lanes
    assert lane.stream not in (0, stream) and lane.settings["use_tf32"] == "0"
    assert driver.trt.emulated_streams is None and gpu.pycuda.retained == [0]
    assert gpu.pycuda.context.depth == 0


def test_many_runs_of_one_context_keep_their_order_and_bind_their_buffers_once(gpu):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    inputs = [sample(2, seed=seed) for seed in range(5)]
    gots = []
    for x in inputs:
        run.upload(stream, x)
        assert run.context.execute_async_v3(stream)
        gots.append(run.download(stream))
    gpu.library.cuStreamSynchronize(stream)
    assert [got.tobytes() for got in gots] == [want(x).tobytes() for x in inputs]
    assert gpu.lanes[0].bindings == 1 and gpu.lanes[0].runs == 5


def test_a_repeated_enqueue_costs_four_calls_besides_the_run(gpu):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    assert run.context.execute_async_v3(stream)
    gpu.library.calls.clear()
    assert run.context.execute_async_v3(stream)
    bridged = ["cuEventRecord", "cuStreamWaitEvent"]
    assert gpu.library.calls == ["cuStreamIsCapturing", *bridged, *bridged]


@pytest.mark.parametrize("change", ["address", "shape"])
def test_what_is_set_anew_is_bound_anew(gpu, change):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    run.upload(stream)
    assert run.context.execute_async_v3(stream)
    gpu.library.cuStreamSynchronize(stream)
    x = sample(1 if change == "shape" else 2, seed=7)
    if change == "shape":
        run.context.set_input_shape("x", x.shape)
    else:
        run.addresses["x"] = gpu.alloc(x.nbytes)
        run.context.set_tensor_address("x", run.addresses["x"])
    run.x = x
    run.upload(stream)
    assert run.context.execute_async_v3(stream)
    got = run.download(stream)
    gpu.library.cuStreamSynchronize(stream)
    assert got.tobytes() == want(x).tobytes() and gpu.lanes[0].bindings == 2


def test_one_context_may_use_two_streams_in_turn_and_the_default_one(gpu):
    driver = gpu.driver()
    run = Run(gpu, gpu.engine(driver))
    for stream in (gpu.library.new_stream(), gpu.library.new_stream(), 0, 0):
        x = sample(2, seed=stream % 97)
        run.upload(stream, x)
        assert run.context.execute_async_v3(stream), driver.log.lines
        got = run.download(stream)
        gpu.library.cuStreamSynchronize(stream)
        assert got.tobytes() == want(x).tobytes()
    assert len(gpu.lanes) == 1 and gpu.lanes[0].runs == 4  # a new stream costs nothing


def test_an_input_that_is_read_on_the_cpu_is_read_anew_for_each_run(gpu):
    """ONNX Runtime copies it when it is bound (found on an H200: each run gave the answer to the first one's input)."""
    gpu.input_place = "Cpu"
    run, stream = Run(gpu, gpu.engine(gpu.driver())), gpu.library.new_stream()
    for seed in range(3):
        x = sample(2, seed=seed)
        run.upload(stream, x)
        assert run.context.execute_async_v3(stream)
        got = run.download(stream)
        gpu.library.cuStreamSynchronize(stream)
        assert got.tobytes() == want(x).tobytes()


def test_two_contexts_never_share_a_session(gpu):
    driver = gpu.driver()
    engine, stream = gpu.engine(driver), gpu.library.new_stream()
    runs = [Run(gpu, engine, seed=seed) for seed in range(2)]
    gots = []
    for run in runs:  # both on one stream
        run.upload(stream)
        assert run.context.execute_async_v3(stream)
        gots.append(run.download(stream))
    gpu.library.cuStreamSynchronize(stream)
    assert [got.tobytes() for got in gots] == [want(run.x).tobytes() for run in runs]
    first, second = gpu.lanes
    assert first.stream != second.stream and first.runs == second.runs == 1


def test_a_context_gives_its_session_to_the_next(gpu):
    driver = gpu.driver()
    engine, stream = gpu.engine(driver), gpu.library.new_stream()
    for _ in range(10):
        run = Run(gpu, engine)
        assert run.context.execute_async_v3(stream)
        del run
        gc.collect()
    assert len(gpu.lanes) == 1 and gpu.lanes[0].runs == 10


def test_sessions_that_nobody_holds_are_bounded(gpu):
    driver = gpu.driver()
    engine, stream = gpu.engine(driver), gpu.library.new_stream()
    streams = len(gpu.library.streams)
    runs = [Run(gpu, engine) for _ in range(IDLE_KEPT + 5)]
    for run in runs:
        assert run.context.execute_async_v3(stream)
    assert len(gpu.library.streams) == streams + IDLE_KEPT + 5
    del runs, run
    gc.collect()
    assert len(gpu.library.streams) == streams + IDLE_KEPT
    assert len(gpu.library.events) == 2 * IDLE_KEPT


def test_sessions_end_with_their_engine(gpu):
    driver = gpu.driver()
    streams = len(gpu.library.streams)
    engine, stream = gpu.engine(driver), gpu.library.new_stream()
    run = Run(gpu, engine)
    assert run.context.execute_async_v3(stream)
    assert len(gpu.library.streams) == streams + 2
    del run, engine
    gc.collect()
    assert len(gpu.library.streams) == streams + 1 and not gpu.library.events


def test_threads_have_sessions_of_their_own(gpu):
    driver = gpu.driver()
    engine = gpu.engine(driver)
    runs = [Run(gpu, engine, seed=seed) for seed in range(4)]
    streams = [gpu.library.new_stream() for _ in runs]
    meeting = threading.Barrier(len(runs), timeout=20)

    def work(run, stream):
        meeting.wait()
        for _ in range(20):
            assert run.context.execute_async_v3(stream)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(runs, streams, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lane.runs for lane in gpu.lanes) == [20] * 4


def test_only_the_own_stream_is_waited_for(gpu):
    driver = gpu.driver(faults=(lambda site: None,))
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    other, done = gpu.library.new_stream(), []
    gpu.library.enqueue(other, lambda: done.append(1))
    run.upload(stream)
    assert run.context.execute_async_v3(stream)
    assert gpu.library.waited[0] == stream and other not in gpu.library.waited and not done


@pytest.mark.parametrize("stream", [0, None])
def test_a_run_with_faults_is_computed_from_copies(gpu, stream):
    driver = gpu.driver(faults=(lambda site: None,))
    run = Run(gpu, gpu.engine(driver))
    stream = gpu.library.new_stream() if stream is None else stream
    run.upload(stream)
    assert run.context.execute_async_v3(stream)
    got = run.download(stream)
    gpu.library.cuStreamSynchronize(stream)
    assert not gpu.lanes and gpu.pycuda.context.depth == 0 and got.tobytes() == want(run.x).tobytes()


def test_engines_that_one_session_cannot_do_are_waited_for(gpu):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver, clear=())), gpu.library.new_stream()  # TF32
    run.upload(stream)
    for _ in range(2):
        assert run.context.execute_async_v3(stream)
    assert not gpu.lanes and gpu.library.waited.count(stream) == 2


def test_a_run_that_onnx_runtime_refuses_leaves_nothing_behind(gpu):
    """What it had enqueued before it failed must not come after what the CPU has computed."""
    gpu.fails = True
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    run.upload(stream)
    for _ in range(2):
        assert run.context.execute_async_v3(stream), driver.log.lines
    got = run.download(stream)
    for handle in list(gpu.library.streams):
        gpu.library.cuStreamSynchronize(handle)
    assert got.tobytes() == want(run.x).tobytes() and gpu.lanes[0].bindings == 1


@pytest.mark.parametrize("handle", [-1, 3, 12345, 0x1000])
def test_what_is_no_stream_is_refused(gpu, handle):
    driver = gpu.driver()
    run = Run(gpu, gpu.engine(driver))
    asked = len(gpu.library.calls)
    assert run.context.execute_async_v3(handle) is False
    assert "not a stream" in driver.log.texts()[-1]
    assert (
        len(gpu.library.calls) == asked
    )  # such a handle never gets to CUDA, which would follow it as a pointer


def test_memory_that_is_no_stream_is_refused_by_cuda(gpu):
    driver = gpu.driver()
    run = Run(gpu, gpu.engine(driver))
    assert run.context.execute_async_v3(gpu.library.handles.new()) is False
    assert "not a stream" in driver.log.texts()[-1]


def test_a_stream_that_is_destroyed_is_refused_when_it_is_used(gpu):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    assert run.context.execute_async_v3(stream)
    gpu.library.cuStreamDestroy_v2(stream)
    for _ in range(2):
        assert run.context.execute_async_v3(stream) is False
        assert "Cuda Runtime (cuEventRecord failed with CUDA error 400)" in driver.log.texts()[-1]
    fresh = gpu.library.new_stream()
    assert run.context.execute_async_v3(fresh) and gpu.pycuda.context.depth == 0


def test_a_capture_is_refused(gpu):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    assert run.context.execute_async_v3(stream)
    gpu.library.streams[stream].captured = True
    queued = len(gpu.library.streams[stream].queue)
    assert run.context.execute_async_v3(stream) is False
    assert "not permitted when stream is capturing" in driver.log.texts()[-1]
    assert len(gpu.library.streams[stream].queue) == queued and gpu.lanes[0].runs == 1


def test_the_event_of_consumed_inputs_fires_behind_the_run(gpu):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    event = gpu.library.new_event()
    assert run.context.set_input_consumed_event(12345) is False
    assert run.context.set_input_consumed_event(event)
    run.upload(stream)
    assert run.context.execute_async_v3(stream)
    assert gpu.library.cuEventQuery(event) == 600
    gpu.library.cuStreamSynchronize(stream)
    assert gpu.library.cuEventQuery(event) == 0


def test_the_event_of_consumed_inputs_fires_where_the_host_computes(gpu):
    driver = gpu.driver(faults=(lambda site: None,))
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    event = gpu.library.new_event()
    assert run.context.set_input_consumed_event(event)
    assert run.context.execute_async_v3(stream)
    assert gpu.library.events[event] is not None and gpu.library.cuEventQuery(event) == 0


def test_a_copy_from_the_host_is_done_when_it_returns(gpu):
    """A copy from pageable memory may return before it is done (CUDA Driver API, "API synchronization behavior")."""
    device = cuda.CudaDevice(0)
    address = device.allocate(16)
    device.write(address, np.arange(4, dtype="f4"))
    assert gpu.library.waited == [0]
    assert device.read(address, np.dtype("f4"), (4,)).tolist() == [0, 1, 2, 3]


def test_a_device_that_is_dropped_gives_its_memory_and_stream_back_in_its_context(gpu, monkeypatch):
    freed = []

    class Block(int):
        def __del__(self):
            freed.append(gpu.pycuda.context.depth)

    monkeypatch.setattr(gpu.pycuda, "mem_alloc", lambda size: Block(4096))
    device = cuda.CudaDevice(0)
    assert device.allocate(16) == 4096 and not freed
    del device
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    assert freed == [1] and gpu.pycuda.context.depth == 0 and list(gpu.library.streams) == [0]


def test_what_is_missing_for_cuda_is_named(gpu, monkeypatch):
    with pytest.raises(RuntimeMissingError, match="cuda:3 is not here"):
        emulator.load("tensorrt", "10.13", "t4", device="cuda:3")

    def missing():
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda, "load_library", missing)
    with pytest.raises(RuntimeMissingError, match="library of CUDA's driver does not load"):
        emulator.load("tensorrt", "10.13", "t4", device="cuda:0")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeMissingError, match="CUDAExecutionProvider"):
        emulator.load("tensorrt", "10.13", "t4", device="cuda:0")
    monkeypatch.setattr(gpu.pycuda, "init", lambda: 1 / 0)
    with pytest.raises(RuntimeMissingError, match="no CUDA driver answers"):
        cuda.load_driver(0)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(RuntimeMissingError, match="needs PyCUDA"):
        cuda.load_driver(0)


def test_a_session_that_cannot_be_made_fails_the_enqueue_and_leaves_no_stream(gpu, monkeypatch):
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()

    def full(*args, **kwargs):
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(ort, "InferenceSession", full)
    streams = len(gpu.library.streams)
    assert run.context.execute_async_v3(stream) is False
    assert "ONNX Runtime made no session: CUDA failure 2" in driver.log.texts()[-1]
    gc.collect()
    assert len(gpu.library.streams) == streams and gpu.pycuda.context.depth == 0


def test_where_handles_are_no_pointers_cuda_is_asked(gpu, monkeypatch):
    monkeypatch.setattr(bridge, "_is_pointer", lambda handle: False)
    driver = gpu.driver()
    run, stream = Run(gpu, gpu.engine(driver)), gpu.library.new_stream()
    assert run.context.execute_async_v3(stream), driver.log.lines
    assert run.context.execute_async_v3(12345) is False and run.context.execute_async_v3(-1) is False


def test_handles_are_only_followed_where_there_is_memory():
    held = np.zeros(8)
    assert bridge._is_pointer(held.ctypes.data) and not bridge._is_pointer(held.ctypes.data + 1)
    assert not any(bridge._is_pointer(handle) for handle in (-8, 0, 8, 0x1000, 1 << 60))


class Failing:
    """A session that cuDNN has no kernel for."""

    def __init__(self):
        self.runs = 0

    def get_inputs(self):
        return ["x"]

    def run(self, names, feeds):
        self.runs += 1
        raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")


def relu():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_what_the_gpu_cannot_run_is_run_on_the_cpu_from_then_on():
    session = Failing()
    either = Either(session, relu())
    for _ in range(2):
        (y,) = either.run(["y"], {"x": np.array([-1, 2], np.float32)})
        assert y.tolist() == [0, 2]
    assert session.runs == 1 and either.get_inputs() == ["x"]


def test_what_neither_can_run_is_an_error():
    with pytest.raises(Exception, match="x"):
        Either(Failing(), relu()).run(["y"], {})
