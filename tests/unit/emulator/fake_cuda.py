"""A GPU that is none: host memory for device memory, and streams whose work is done when somebody waits for it.

Work of a stream that is not told to wait for another one's is done in any order, the worst one: not before its own stream is
waited for. So what a bridge forgets shows every time.
"""

from __future__ import annotations

import ctypes
import sys
import types

import numpy as np
import onnxruntime as ort

from pytest_trt.emulator import bridge, cuda

from .driver import Driver, sample
from .models import conv

REAL_SESSION = ort.InferenceSession
INVALID_HANDLE, NOT_READY = 400, 600


class Handles:
    """Real addresses, as handles of the driver are."""

    def __init__(self):
        self.held = []

    def new(self):
        self.held.append(ctypes.create_string_buffer(64))
        return ctypes.addressof(self.held[-1]) // 8 * 8


class Stream:
    """Work in order; `done` counts what has been done of it."""

    def __init__(self):
        self.queue, self.done, self.captured = [], 0, False


class Library:
    """The functions of CUDA's driver library that a bridge uses, as plain functions: they take attributes."""

    def __init__(self):
        self.handles, self.streams, self.events = Handles(), {0: Stream()}, {}
        self.calls, self.waited = [], []
        names = (
            "cuStreamCreate cuStreamDestroy_v2 cuStreamSynchronize cuStreamWaitEvent cuStreamIsCapturing cuStreamGetFlags"
            " cuEventCreate cuEventDestroy_v2 cuEventRecord cuEventQuery"
        )
        for name in names.split():
            setattr(self, name, self._plain(name))

    def _plain(self, name):
        own = getattr(self, "_" + name)

        def call(*args):
            self.calls.append(name)
            return own(*args)

        return call

    def new_stream(self):
        handle = self.handles.new()
        self.streams[handle] = Stream()
        return handle

    def new_event(self):
        handle = self.handles.new()
        self.events[handle] = None
        return handle

    def enqueue(self, stream, work):
        self.streams[stream].queue.append(work)

    def advance(self, place):
        """Do the work of a stream up to a place."""
        stream, upto = place
        while stream.done < upto:
            stream.queue[stream.done]()
            stream.done += 1

    def _cuStreamCreate(self, made, flags):
        assert flags == 1
        ctypes.c_void_p.from_address(made).value = self.new_stream()
        return 0

    def _cuEventCreate(self, made, flags):
        assert flags == 2
        ctypes.c_void_p.from_address(made).value = self.new_event()
        return 0

    def _cuStreamDestroy_v2(self, stream):
        del self.streams[stream]
        return 0

    def _cuEventDestroy_v2(self, event):
        del self.events[event]
        return 0

    def _cuStreamSynchronize(self, stream):
        self.waited.append(stream)
        found = self.streams.get(stream)
        if found is not None:
            self.advance((found, len(found.queue)))
        return 0 if found is not None else INVALID_HANDLE

    def _cuEventRecord(self, event, stream):
        found = self.streams.get(stream)
        if found is None or event not in self.events:
            return INVALID_HANDLE
        self.events[event] = (found, len(found.queue))
        return 0

    def _cuStreamWaitEvent(self, stream, event, flags):
        place = self.events[event]
        self.enqueue(stream, lambda: self.advance(place))
        return 0

    def _cuStreamIsCapturing(self, stream, status):
        found = self.streams.get(stream, Stream())
        ctypes.c_int.from_address(status).value = int(found.captured)
        return 0

    def _cuStreamGetFlags(self, stream, flags):
        return 0 if stream in self.streams else INVALID_HANDLE

    def _cuEventQuery(self, event):
        if event not in self.events:
            return INVALID_HANDLE
        place = self.events[event]
        return 0 if place is None or place[0].done >= place[1] else NOT_READY


class Context:
    """The primary context: how often it is pushed."""

    def __init__(self):
        self.depth = 0

    def push(self):
        self.depth += 1

    def pop(self):
        self.depth -= 1


class PyCuda(types.ModuleType):
    """`pycuda.driver`."""

    def __init__(self, count=1):
        super().__init__("pycuda.driver")
        self.count_, self.memory, self.retained = count, {}, []
        self.context = Context()
        owner = self

        class Device:
            def __init__(self, ordinal):
                self.ordinal = ordinal

            @staticmethod
            def count():
                return owner.count_

            def retain_primary_context(self):
                owner.retained.append(self.ordinal)
                return owner.context

        self.Device = Device

    def init(self):
        pass

    def mem_alloc(self, size):
        assert self.context.depth
        block = np.zeros(size, np.uint8)
        self.memory[block.ctypes.data] = block
        return block.ctypes.data

    def memcpy_dtoh(self, array, address):
        assert self.context.depth
        array.view(np.uint8).reshape(-1)[:] = self.memory[address][: array.nbytes]

    def memcpy_htod(self, address, array):
        assert self.context.depth
        self.memory[address][: array.nbytes] = array.view(np.uint8).reshape(-1)


class Binding:
    """Where the buffers of a run are."""

    def __init__(self, session):
        self.session, self.inputs, self.outputs = session, {}, {}

    def bind_input(self, name, device, ordinal, kind, shape, address):
        assert (device, ordinal) == ("cuda", 0)
        self.inputs[name] = (np.dtype(kind), shape, address)
        if self.session.gpu.input_place == "Cpu":  # ONNX Runtime copies such an input here
            self.session.copied[name] = np.array(self.session.gpu.array(np.dtype(kind), shape, address))

    def bind_output(self, name, device, ordinal, kind, shape, address):
        assert (device, ordinal) == ("cuda", 0)
        self.outputs[name] = (np.dtype(kind), shape, address)


class Session:
    """A session of the CUDA provider: a run is enqueued on its stream, and computed on the CPU when it is due."""

    def __init__(self, gpu, data, options, settings):
        self.gpu, self.settings = gpu, dict(settings)
        self.inner = REAL_SESSION(data, options, providers=["CPUExecutionProvider"])
        self.stream = int(settings.get("user_compute_stream", 0))
        self.bindings, self.runs, self.fails = 0, 0, gpu.fails
        self.copied = {}

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def get_input_memory_infos(self):
        return [types.SimpleNamespace(name=self.gpu.input_place) for _ in self.inner.get_inputs()]

    def io_binding(self):
        self.bindings += 1
        return Binding(self)

    def run_with_iobinding(self, binding, options):
        assert self.gpu.pycuda.context.depth and binding.session is self
        if self.fails:
            self.gpu.library.enqueue(self.stream, lambda: self._write(binding, 55))
            raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")
        self.runs += 1
        self.gpu.library.enqueue(self.stream, lambda: self._write(binding, None))

    def _write(self, binding, value):
        feeds = {
            name: self.copied.get(name, self.gpu.array(*bound)) for name, bound in binding.inputs.items()
        }
        names = list(binding.outputs)
        for name, array in zip(names, self.inner.run(names, feeds), strict=True):
            self.gpu.array(*binding.outputs[name])[...] = array if value is None else value


class Gpu:
    """Everything that is faked, and how to run something on it."""

    def __init__(self, monkeypatch):
        self.pycuda, self.library = PyCuda(), Library()
        self.sessions, self.fails, self.input_place = [], False, "Cuda"
        monkeypatch.setitem(sys.modules, "pycuda", types.ModuleType("pycuda"))
        monkeypatch.setitem(sys.modules, "pycuda.driver", self.pycuda)
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
        monkeypatch.setattr(ort, "InferenceSession", self._session)
        monkeypatch.setattr(cuda, "load_library", lambda: bridge.Driver(self.library, self.library))

    def _session(self, data, options, providers):
        if providers == ["CPUExecutionProvider"]:
            return REAL_SESSION(data, options, providers=providers)
        self.sessions.append(Session(self, data, options, providers[0][1]))
        return self.sessions[-1]

    @property
    def lanes(self):
        """Sessions that have a stream."""
        return [session for session in self.sessions if session.stream]

    def array(self, kind, shape, address):
        block = self.pycuda.memory[address]
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return block[:size].view(kind).reshape(tuple(shape))

    def alloc(self, size):
        self.pycuda.context.push()
        address = self.pycuda.mem_alloc(size)
        self.pycuda.context.pop()
        return address

    def driver(self, **options):
        return Driver(device="cuda:0", **options)

    def engine(self, driver, flags=(), clear=("TF32",)):
        profile = {"x": ((1, 5, 6, 6), (2, 5, 6, 6), (4, 5, 6, 6))}
        return driver.engine(conv(), flags=flags, clear=clear, profile=profile)


class Run:
    """A context with buffers of its own."""

    def __init__(self, gpu, engine, batch=2, seed=0):
        self.gpu, self.context = gpu, engine.create_execution_context()
        self.x = sample(batch, seed=seed)
        self.addresses = {"x": gpu.alloc(self.x.nbytes), "y": gpu.alloc(4 * batch * 7 * 5 * 6)}
        assert self.context.set_input_shape("x", self.x.shape)
        for name, address in self.addresses.items():
            assert self.context.set_tensor_address(name, address)

    def upload(self, stream, x=None):
        """Enqueue the copy of the input."""
        values = (self.x if x is None else x).copy()
        target = self.gpu.array("f4", values.shape, self.addresses["x"])
        self.gpu.library.enqueue(stream, lambda: np.copyto(target, values))

    def download(self, stream):
        """Enqueue the copy of the output, and return where it will be."""
        there = self.gpu.array("f4", (len(self.x), 7, 5, 6), self.addresses["y"])
        got = np.full_like(there, np.nan)
        self.gpu.library.enqueue(stream, lambda: np.copyto(got, there))
        return got
