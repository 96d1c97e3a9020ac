"""Plans, attributes, shapes and the CUDA device, each by itself."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

from pytest_trt import emulator
from pytest_trt.emulator import cuda, program
from pytest_trt.emulator.arguments import parse
from pytest_trt.emulator.attributes import filled
from pytest_trt.emulator.plan import Plan, PlanError
from pytest_trt.errors import RuntimeMissingError

from .driver import Driver, sample
from .models import conv, make

PLAN = Plan("tensorrt", "10.13.3.9", (75, 80), b"model", settings={"a": [1, 2]})


def test_a_plan_packs_and_unpacks():
    assert Plan.unpack(PLAN.pack()) == PLAN
    assert PLAN.pack() == replace(PLAN).pack() != replace(PLAN, sms=(75,)).pack()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data + b"x", "padded"),
        (lambda data: data[:-1] + b"L", "checksum"),
        (lambda data: b"X" + data[1:], "magic"),
        (lambda data: b"", "magic"),
    ],
)
def test_a_plan_that_is_not_whole_is_refused(change, word):
    with pytest.raises(PlanError, match=word):
        Plan.unpack(change(PLAN.pack()))


def test_signatures_are_read():
    names = [
        (p.name, p.kind) for p in parse("(a: int, b: List[Tuple[int, str]] = None, c: E = <E.X: 0>) -> bool")
    ]
    assert names == [("a", "int"), ("b", "List[Tuple[int, str]]"), ("c", "E")]
    assert parse("() -> None") == ()


@pytest.mark.parametrize(
    ("auto", "strides", "size", "want"),
    [
        ("SAME_UPPER", [2, 2], (6, 6), [0, 0, 1, 1]),
        ("SAME_LOWER", [2, 2], (6, 6), [1, 1, 0, 0]),
        ("SAME_UPPER", [1, 1], (6, 6), [1, 1, 1, 1]),
        ("VALID", [1, 1], (6, 6), [0, 0, 0, 0]),
    ],
)
def test_automatic_pads_are_worked_out_as_onnx_runtime_does(auto, strides, size, want):
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=auto, strides=strides)
    found = filled(node, (1, 2, *size), (3, 2, 3, 3))
    assert found["pads"] == want and "auto_pad" not in found
    x, w = sample(1, shape=(2, *size)), sample(3, shape=(2, 3, 3))
    explicit = helper.make_node("Conv", ["x", "w"], ["y"], pads=want, strides=strides)
    results = [
        program.cpu_session(make([n], {"x": [1, 2, *size]}, {"y": None}, {"w": w})).run(None, {"x": x})[0]
        for n in (node, explicit)
    ]
    np.testing.assert_array_equal(*results)


def test_pads_of_a_transposed_convolution_follow_from_its_output_shape():
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], output_shape=[8, 7], strides=[2, 2])
    found = filled(node, (1, 2, 4, 4), (2, 3, 3, 3))
    assert found["output_padding"] == [0, 0] and [
        found["pads"][i] + found["pads"][i + 2] for i in (0, 1)
    ] == [1, 2]
    plain = filled(
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], pads=[1, 0, 0, 1]), (1, 2, 4, 4), (2, 3, 3, 3)
    )
    assert plain["pads"] == [1, 0, 0, 1] and plain["group"] == 1


def test_defaults_of_other_nodes_are_filled_in():
    gemm = filled(helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (2, 3), (4, 3))
    assert gemm == {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    pool = filled(helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2]), (1, 1, 4), None)
    assert pool["pads"] == [0, 0] and pool["count_include_pad"] == 0 and pool["strides"] == [1]


def test_shapes_that_follow_from_values_of_shapes_are_known_before_the_run():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"first": np.array([0]), "rest": np.array([-1])}
    driver, x = Driver(), sample(3)
    got = driver.once(make(nodes, {"x": ["N", 5, 6, 6]}, {"y": ["A", "B"]}, constants), x=x)["y"]
    assert got.tobytes() == x.reshape(3, -1).tobytes()


def test_a_declared_output_shape_is_not_believed():
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=0)
    x = sample(3)
    got = Driver().once(make([node], {"x": ["N", 5, 6, 6]}, {"y": ["N", 5, 6, 6]}), x=x)["y"]
    assert got.shape == (6, 5, 6, 6)


def test_constants_and_inputs_may_be_outputs():
    nodes = [helper.make_node("Identity", ["k"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    model = make(nodes, {"x": [3]}, {"y": [2], "z": [3]}, {"k": np.array([1, 2], "f4")})
    got = Driver().once(model, x=sample(1, shape=())[:1].repeat(3))
    assert got["y"].tolist() == [1, 2] and got["z"].shape == (3,)


# The CUDA device, on fakes: what is called, with which context, on which stream.


class Context:
    def __init__(self, log):
        self.log, self.depth = log, 0

    def push(self):
        self.depth += 1

    def pop(self):
        self.depth -= 1


class FakeDriver(types.ModuleType):
    """`pycuda.driver` with host memory for device memory."""

    def __init__(self, count=1):
        super().__init__("pycuda.driver")
        self.log, self.count_, self.memory = [], count, {}
        self.context = Context(self.log)
        owner = self

        class Device:
            def __init__(self, ordinal):
                self.ordinal = ordinal

            @staticmethod
            def count():
                return owner.count_

            def retain_primary_context(self):
                owner.log.append(("retain", self.ordinal))
                return owner.context

        class Current:
            @staticmethod
            def synchronize():
                assert owner.context.depth
                owner.log.append("synchronize")

        self.Device, self.Context = Device, Current

    def init(self):
        self.log.append("init")

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


@pytest.fixture
def driver_module(monkeypatch):
    fake = FakeDriver()
    monkeypatch.setitem(sys.modules, "pycuda", types.ModuleType("pycuda"))
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake)
    monkeypatch.setattr(
        ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    return fake


class Session:
    """A CUDA session on the CPU: remembers its provider options and what was bound, and runs on the CPU."""

    def __init__(self, fake, data, options, providers):
        self.fake, self.options, self.data = fake, dict(providers[0][1]), data
        self.inner = REAL_SESSION(data, options, providers=["CPUExecutionProvider"])
        self.bound, self.runs = {}, []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def io_binding(self):
        return self

    def bind_input(self, *args):
        self.bound[args[0]] = ("in", *args[1:])

    bind_output = bind_input

    def run_with_iobinding(self, binding, options):
        assert self.fake.context.depth
        self.runs.append(options)


REAL_SESSION = ort.InferenceSession


def on_cuda(driver_module, monkeypatch, **options):
    made = []

    def session(data, options, providers):
        if providers == ["CPUExecutionProvider"]:
            return REAL_SESSION(data, options, providers=providers)
        made.append(Session(driver_module, data, options, providers))
        return made[-1]

    monkeypatch.setattr(ort, "InferenceSession", session)
    return Driver(device="cuda:0", **options), made


def launched(driver, fake, flags=(), handle=0x77):
    x = sample(2)
    engine = driver.engine(conv(), flags=flags, profile={"x": (x.shape,) * 3})
    context = engine.create_execution_context()
    fake.context.push()
    addresses = [fake.mem_alloc(4 * x.size), fake.mem_alloc(4 * 2 * 7 * 5 * 6)]
    fake.memcpy_htod(addresses[0], x)
    fake.context.pop()
    assert context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", addresses[0])
    context.set_tensor_address("y", addresses[1])
    assert context.execute_async_v3(handle), driver.log.lines
    return addresses, x


def test_a_plain_run_is_enqueued_on_the_callers_stream(driver_module, monkeypatch):
    driver, made = on_cuda(driver_module, monkeypatch)
    assert not hasattr(driver.trt, "emulated_streams") or driver.trt.emulated_streams is None
    addresses, _ = launched(driver, driver_module)
    assert made[-1].options["user_compute_stream"] == str(0x77) and made[-1].options["use_tf32"] == "0"
    assert made[-1].bound["x"][-1] == addresses[0] and made[-1].bound["y"][-1] == addresses[1]
    assert made[-1].bound["y"][-2] == [2, 7, 5, 6] and len(made[-1].runs) == 1
    assert "synchronize" not in driver_module.log and ("retain", 0) in driver_module.log


@pytest.mark.parametrize("handle", [0, 0x77])
def test_a_run_with_faults_is_computed_from_copies(driver_module, monkeypatch, handle):
    driver, _ = on_cuda(driver_module, monkeypatch, faults=(lambda site: None,))
    addresses, x = launched(driver, driver_module, handle=handle)
    assert "synchronize" in driver_module.log and driver_module.context.depth == 0
    got = driver_module.memory[addresses[1]].view("f4").reshape(2, 7, 5, 6)
    assert got.tobytes() == Driver().once(conv(), x=x)["y"].tobytes()


def test_the_default_stream_is_waited_for(driver_module, monkeypatch):
    driver, _ = on_cuda(driver_module, monkeypatch)
    addresses, x = launched(driver, driver_module, handle=0)
    got = driver_module.memory[addresses[1]].view("f4").reshape(2, 7, 5, 6)
    assert "synchronize" in driver_module.log and got.tobytes() == Driver().once(conv(), x=x)["y"].tobytes()


def test_what_is_missing_for_cuda_is_named(driver_module, monkeypatch):
    with pytest.raises(RuntimeMissingError, match="cuda:3 is not here"):
        emulator.load("tensorrt", "10.13", "t4", device="cuda:3")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeMissingError, match="CUDAExecutionProvider"):
        emulator.load("tensorrt", "10.13", "t4", device="cuda:0")
    monkeypatch.setattr(driver_module, "init", lambda: 1 / 0)
    with pytest.raises(RuntimeMissingError, match="no CUDA driver answers"):
        cuda.load_driver(0)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(RuntimeMissingError, match="needs PyCUDA"):
        cuda.load_driver(0)
