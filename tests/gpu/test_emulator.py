"""The emulator on a real GPU: runs are ordered by the caller's stream, contexts run side by side, sessions are given back.

All data are small integers, which float32 sums exactly in any order: so the bits are those of the emulator on the CPU.
"""

from __future__ import annotations

import ctypes
import gc
import threading

import numpy as np
import pytest
from onnx import helper

from pytest_trt.emulator.bridge import IDLE_KEPT, load_library
from pytest_trt.errors import RuntimeMissingError

from ..unit.emulator.driver import Driver
from ..unit.emulator.models import make
from .conftest import CHANNELS, SHAPE, frames, network

PROFILE = {"x": ((1, *SHAPE), (2, *SHAPE), (8, *SHAPE))}
PATIENCE = 20.0  # seconds until a held stream goes on by itself: an enqueue that waits then fails its test
RUNS, THREADS, CONTEXTS = 200, 4, 100
NOT_READY = 600  # CUDA_ERROR_NOT_READY
THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


class Device:
    """The GPU for one test: PyCUDA with the primary context current."""

    def __init__(self, cuda, driver):
        self.cuda, self.driver = cuda, driver
        self.primary = cuda.Device(0).retain_primary_context()

    def engine(self, **settings):
        return self.driver.engine(network(), profile=PROFILE, **settings)


class Run:
    """A context with buffers of its own, and pinned memory for each of its runs."""

    def __init__(self, device, engine, batch=2):
        self.cuda, self.batch = device.cuda, batch
        self.context = engine.create_execution_context()
        self.nbytes = 4 * batch * int(np.prod(SHAPE))
        self.x, self.y = (self.cuda.mem_alloc(self.nbytes) for _ in range(2))
        assert self.context.set_input_shape("x", (batch, *SHAPE))
        assert self.context.set_tensor_address("x", int(self.x))
        assert self.context.set_tensor_address("y", int(self.y))
        self.held, self.spare = [], []
        self.prepare(2)

    def prepare(self, runs):
        """Make pinned memory for runs, which may wait for the device."""
        self.spare += [
            [self.cuda.pagelocked_empty((self.batch, *SHAPE), np.float32) for _ in range(2)]
            for _ in range(runs)
        ]

    def enqueue(self, stream, seed):
        """Enqueue upload, poison, run and download; return where the output will be."""
        if not self.spare:
            self.prepare(1)
        sent, got = self.spare.pop()
        sent[...], got[...] = frames(self.batch, seed), np.nan
        self.held.append(sent)
        self.cuda.memcpy_htod_async(self.x, sent, stream)
        self.cuda.memset_d8_async(self.y, 0xFF, self.nbytes, stream)
        assert self.context.execute_async_v3(stream.handle)
        self.cuda.memcpy_dtoh_async(got, self.y, stream)
        return got


@pytest.fixture(scope="module")
def driver():
    try:
        return Driver(device="cuda:0")
    except RuntimeMissingError as error:
        pytest.skip(f"needs a GPU with PyCUDA and ONNX Runtime's CUDA provider: {error}")


@pytest.fixture
def device(driver):
    cuda = pytest.importorskip("pycuda.driver")
    made = Device(cuda, driver)
    made.primary.push()
    yield made
    cuda.Context.synchronize()
    gc.collect()
    cuda.Context.pop()


@pytest.fixture(scope="module")
def answers():
    """What the emulator gives on the CPU, by seed."""
    reference, known = Driver(), {}
    context = reference.engine(network(), profile=PROFILE).create_execution_context()

    def answer(seed, batch=2):
        if (seed, batch) not in known:
            known[seed, batch] = reference.run(context, x=frames(batch, seed))["y"].tobytes()
        return known[seed, batch]

    return answer


class Held:
    """Keeps a stream from going on until it is let go: what is enqueued behind is sure not to be done (cuStreamWaitValue32)."""

    def __init__(self, device, stream):
        self.flag = device.cuda.pagelocked_zeros(1, np.uint32)  # addressed alike by host and device
        wait = ctypes.PyDLL("libcuda.so.1").cuStreamWaitValue32_v2
        wait.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint)
        assert wait(stream.handle, self.flag.ctypes.data, 1, 0) == 0
        self.timer = threading.Timer(PATIENCE, self.flag.fill, (1,))
        self.timer.start()

    def let_go(self):
        self.timer.cancel()
        self.flag.fill(1)
        self.timer.join()  # its thread holds the flag too, and PyCUDA would free nothing there


def test_runs_keep_the_order_of_the_stream_without_a_wait_of_the_host(device, answers):
    """Upload, run and download, 200 times on one stream behind a held one; the host waits once."""
    run, stream = Run(device, device.engine()), device.cuda.Stream()
    run.enqueue(stream, 0)
    stream.synchronize()
    run.prepare(RUNS)
    held = Held(device, stream)
    gots = [run.enqueue(stream, seed % 7) for seed in range(RUNS)]
    assert not stream.is_done()
    held.let_go()
    stream.synchronize()
    wrong = [number for number, got in enumerate(gots) if got.tobytes() != answers(number % 7)]
    assert wrong == []


def test_an_enqueue_does_not_wait_for_the_work_before_it(device, answers):
    run, stream = Run(device, device.engine()), device.cuda.Stream()
    run.enqueue(stream, 0)
    stream.synchronize()
    held = Held(device, stream)
    got = run.enqueue(stream, 1)
    assert not stream.is_done() and np.isnan(got).all()
    held.let_go()
    stream.synchronize()
    assert got.tobytes() == answers(1)


def test_a_run_on_the_default_stream_is_in_order(device, answers):
    run = Run(device, device.engine())
    x, got = frames(2, 3), np.empty((2, *SHAPE), "f4")
    device.cuda.memcpy_htod(run.x, x)
    assert run.context.execute_async_v3(0)
    device.cuda.memcpy_dtoh(got, run.y)
    assert got.tobytes() == answers(3)


def test_contexts_on_streams_of_their_own_run_in_threads(device, answers):
    engine, failed = device.engine(), []
    meeting = threading.Barrier(THREADS, timeout=60)

    def work(number):
        device.primary.push()
        try:
            run, stream = Run(device, engine), device.cuda.Stream()
            run.enqueue(stream, number)
            stream.synchronize()
            meeting.wait()
            for turn in range(RUNS // THREADS):
                seed = (number + turn) % 7
                got = run.enqueue(stream, seed)
                stream.synchronize()
                if got.tobytes() != answers(seed):
                    failed.append((number, turn))
            del run, stream, got
        except BaseException as error:
            failed.append((number, error))
            meeting.abort()
        finally:
            device.cuda.Context.pop()

    for seed in range(7):
        answers(seed)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_two_contexts_take_turns_on_one_stream_and_one_context_on_two(device, answers):
    engine = device.engine()
    runs, streams = [Run(device, engine) for _ in range(2)], [device.cuda.Stream() for _ in range(2)]
    gots = [(runs[turn % 2].enqueue(streams[0], turn % 7), turn % 7) for turn in range(40)]
    streams[0].synchronize()
    for turn in range(40):
        stream = streams[turn % 2]
        gots.append((runs[0].enqueue(stream, turn % 7), turn % 7))
        stream.synchronize()  # the buffers are the same
    assert [number for number, (got, seed) in enumerate(gots) if got.tobytes() != answers(seed)] == []


@pytest.mark.parametrize("flags", [("FP16",), ("BF16",)])
def test_narrow_engines_are_enqueued_too(device, answers, flags):
    """Their inputs and outputs are float32; whole numbers of this size are exact in bfloat16 inputs, and sums in float32."""
    run, stream = Run(device, device.engine(flags=flags)), device.cuda.Stream()
    run.enqueue(stream, 0)
    stream.synchronize()
    held = Held(device, stream)
    got = run.enqueue(stream, 1)
    assert not stream.is_done()
    held.let_go()
    stream.synchronize()
    reference = Driver()
    context = reference.engine(network(), profile=PROFILE, flags=flags).create_execution_context()
    assert got.tobytes() == reference.run(context, x=frames(2, 1))["y"].tobytes()


def test_an_input_that_is_read_on_the_cpu_is_read_anew_for_each_run(device):
    """ONNX Runtime's CUDA provider leaves a ConvTranspose whose pads differ to the CPU, and copies its input when it is bound."""
    weights = {"w": np.random.default_rng(0).integers(-1, 2, (CHANNELS, CHANNELS, 3, 3)).astype("f4")}
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], name="up", pads=[1, 1, 0, 0], output_padding=[0, 0]
    )
    shape = (SHAPE[0], SHAPE[1] + 1, SHAPE[2] + 1)
    model = make([node], {"x": ["N", *SHAPE]}, {"y": ["N", *shape]}, weights)
    x, y = frames(2, 0), np.empty((2, *shape), "f4")
    context = device.driver.engine(model, profile=PROFILE).create_execution_context()
    reference = Driver()
    other = reference.engine(model, profile=PROFILE).create_execution_context()
    stream, there = device.cuda.Stream(), [device.cuda.mem_alloc(array.nbytes) for array in (x, y)]
    assert context.set_input_shape("x", x.shape)
    for name, block in zip("xy", there, strict=True):
        assert context.set_tensor_address(name, int(block))
    for seed in range(4):
        x = frames(2, seed)
        device.cuda.memcpy_htod_async(there[0], x, stream)
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        device.cuda.memcpy_dtoh(y, there[1])
        assert y.tobytes() == reference.run(other, x=x)["y"].tobytes()


def test_the_event_of_consumed_inputs_fires_behind_the_run(device):
    library = load_library()
    run, stream, event = Run(device, device.engine()), device.cuda.Stream(), library.create_event()
    try:
        assert run.context.set_input_consumed_event(event)
        run.enqueue(stream, 0)
        stream.synchronize()
        held = Held(device, stream)
        run.enqueue(stream, 1)
        query = ctypes.CDLL("libcuda.so.1").cuEventQuery
        assert query(ctypes.c_void_p(event)) == NOT_READY
        held.let_go()
        stream.synchronize()
        assert query(ctypes.c_void_p(event)) == 0
    finally:
        run.context.set_input_consumed_event(0)
        library.destroy_event(event)


def test_sessions_are_given_back_and_memory_is_bounded(device):
    """100 contexts one after the other use one session; 12 at once leave no more than are kept."""
    engine, stream = device.engine(), device.cuda.Stream()

    def use(count):
        runs = [Run(device, engine) for _ in range(count)]
        for run in runs:
            run.enqueue(stream, 0)
        stream.synchronize()

    use(1)
    gc.collect()
    free, _ = device.cuda.mem_get_info()
    for _ in range(CONTEXTS):
        use(1)
        gc.collect()
    left, _ = device.cuda.mem_get_info()
    assert free - left < 32 << 20
    use(IDLE_KEPT + 4)
    gc.collect()
    (lanes,) = [
        found
        for program, found in engine._core.host.device._lanes.items()
        if program is engine._core.program()
    ]
    assert len(lanes._idle) == IDLE_KEPT


def test_a_capture_is_refused_in_words(device, answers):
    library = ctypes.CDLL("libcuda.so.1")
    run, stream = Run(device, device.engine()), device.cuda.Stream()
    run.enqueue(stream, 0)
    stream.synchronize()
    handle, graph = ctypes.c_void_p(stream.handle), ctypes.c_void_p()
    assert library.cuStreamBeginCapture_v2(handle, ctypes.c_int(THREAD_LOCAL)) == 0
    taken = run.context.execute_async_v3(stream.handle)
    assert library.cuStreamEndCapture(handle, ctypes.byref(graph)) == 0
    library.cuGraphDestroy(graph)
    assert taken is False
    assert "not permitted when stream is capturing" in device.driver.log.texts()[-1]
    got = run.enqueue(stream, 1)
    stream.synchronize()
    assert got.tobytes() == answers(1)


@pytest.mark.parametrize("handle", [-1, 3, 12345, 0x1000])
def test_what_is_no_stream_is_refused(device, handle):
    run = Run(device, device.engine())
    assert run.context.execute_async_v3(handle) is False
    assert "is not a stream" in device.driver.log.texts()[-1]
