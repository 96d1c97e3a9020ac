"""A calibrator over any batches: what TensorRT is told, and what comes out of data that cannot be used."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from onnx import helper

from pytest_trt.errors import CalibrationError, ExecutionError, SettingsError, UnsupportedError
from pytest_trt.precision.tables import ALGORITHMS, CalibrationTable
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.calibration import make_calibrator, read_cache, table_product
from pytest_trt.runtime.cuda import CudaMemory
from pytest_trt.runtime.load import discover
from tests.unit.emulator.models import conv, make

from .fake_pycuda import Driver

SHAPE = (2, 5, 6, 6)


def runtime(emulate="tensorrt-10.13"):
    return discover(Settings(runtime="emulator", gpu="t4", emulate=emulate)).executor


def batch(seed=0, shape=SHAPE, dtype=np.float32):
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(dtype)}


def build(rt, calibrator, shape=SHAPE):
    request = BuildRequest(
        conv().SerializeToString(),
        strongly_typed=False,
        flags=frozenset({"INT8"}),
        profile={"x": (shape,) * 3},
    )
    with calibrator.watched():
        return build_plan(rt, request, calibrator=calibrator.raw)


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-10.13", "tensorrt-10.16"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_writes_its_own_table(emulate, algorithm):
    rt = runtime(emulate)
    with make_calibrator(rt, (batch(seed) for seed in range(3)), algorithm=algorithm) as made:
        build(rt, made)
        assert made.batches_given == 3 and not made.used_cache
        table = made.table()
    assert table.algorithm == ALGORITHMS[algorithm] and table.scales["x"] > 0
    assert table == read_cache(rt, made.written, algorithm)
    assert (table.product, table_product(rt)) == ("emulator", "emulator")


def test_a_cache_stands_for_the_batches():
    rt = runtime()
    first = make_calibrator(rt, [batch()], algorithm="minmax")
    plan = build(rt, first)

    def never():
        raise AssertionError("a batch was read")
        yield

    second = make_calibrator(rt, never(), algorithm="minmax", cache=first.written)
    assert build(rt, second).data == plan.data
    assert second.used_cache and second.table() == first.table() and second.shapes == {}


def foreign(version="10.13.2", product="emulator", algorithm="EntropyCalibration2"):
    return CalibrationTable(product, version, algorithm, {"x": np.float32(0.1)}).to_bytes()


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        (foreign(), "written by the emulator playing TensorRT 10.13.2, and this is"),
        (foreign("10.13.3", "TRT"), "written by TensorRT 10.13.3, and this is the emulator"),
        (
            foreign("10.13.3", algorithm="MinMaxCalibration"),
            "comes from MinMaxCalibration, and EntropyCalibration2",
        ),
        (b"garbage", "does not begin with the header"),
    ],
)
def test_a_foreign_cache_is_refused_before_the_build(cache, words):
    with pytest.raises(CalibrationError, match=words):
        make_calibrator(runtime(), [batch()], cache=cache)


def test_a_foreign_cache_can_be_left_to_tensorrt():
    rt = runtime()
    made = make_calibrator(rt, [batch()], cache=foreign(), check_cache=False)
    with rt.logger.collect() as lines:
        build(rt, made)
    assert made.batches_given == 1 and not made.used_cache
    assert any("Calibration cache is not used" in line.text for line in lines if line.severity == "WARNING")


def test_batches_are_read_one_at_a_time_into_one_set_of_buffers():
    rt, read = runtime(), []

    def data():
        for seed in range(3):
            read.append(seed)
            yield batch(seed)

    seen = []
    made = make_calibrator(rt, data(), progress=lambda done, total: seen.append((done, total)))
    assert read == [0] and made.shapes == {"x": SHAPE} and made.raw.get_batch_size() == 2
    addresses = [made.raw.get_batch(["x"]) for _ in range(2)]
    assert read == [0, 1] and addresses[0] == addresses[1]
    assert made.raw.get_batch(["x"]) == addresses[0] and made.raw.get_batch(["x"]) is None
    assert seen == [(1, None), (2, None), (3, None), (3, 3)]
    made.close()
    assert made.raw is None


def test_progress_knows_how_many_where_the_batches_do():
    seen = []
    made = make_calibrator(runtime(), [batch()], progress=lambda done, total: seen.append((done, total)))
    assert made.raw.get_batch(["x"]) is not None
    assert seen == [(1, 1)]


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ([], "there is no calibration data: the batches are empty"),
        ([{}], "batch 0 is no mapping of input name to array but dict"),
        ([np.zeros(3)], "batch 0 is no mapping of input name to array but ndarray"),
        ([batch(dtype=np.float64)], "batch 0: input 'x' is float64, which no network of this TensorRT reads"),
        ([batch(shape=(0, 5))], r"batch 0: input 'x' is empty: \(0, 5\)"),
    ],
)
def test_data_that_cannot_be_used_are_refused_before_the_build(first, words):
    with pytest.raises(CalibrationError, match=words):
        make_calibrator(runtime(), first)


def test_int64_is_refused_where_tensorrt_reads_int32():
    data = [{"x": np.zeros(3, np.int64)}]
    make_calibrator(runtime("tensorrt-10.0"), data)
    with pytest.raises(CalibrationError, match="is int64, which no network") as caught:
        make_calibrator(runtime("tensorrt-8.6.1"), data)
    assert "numpy.int32" in caught.value.mend
    inputs = {"x": ((-1,), "int64")}
    make_calibrator(runtime("tensorrt-8.6.1"), [{"x": np.zeros(3, np.int32)}], inputs=inputs)


@pytest.mark.parametrize(
    ("shape", "kind", "fits"),
    [
        ((-1, 5, 6, 6), "float32", True),
        ((2, 5, 6, 6), "float32", True),
        ((3, 5, 6, 6), "float32", False),
        ((2, 5, 6), "float32", False),
        ((2, 5, 6, 6), "float16", False),
    ],
)
def test_batches_are_held_against_what_the_network_reads(shape, kind, fits):
    expected = (
        contextlib.nullcontext() if fits else pytest.raises(CalibrationError, match="and the network reads")
    )
    with expected:
        make_calibrator(runtime(), [batch()], inputs={"x": (shape, kind), "other": ((1,), "float32")})


def broken_iterator():
    yield batch()
    raise OSError("disk on fire")


@pytest.mark.parametrize(
    ("batches", "words", "cause"),
    [
        (
            [batch(), batch(shape=(1, 5, 6, 6))],
            r"batch 1: input 'x' is float32 \(1, 5, 6, 6\), and in the first",
            None,
        ),
        ([batch(), {"x": batch()["x"].astype(np.float16)}], "batch 1: input 'x' is float16", None),
        ([{"y": batch()["x"]}], "batch 0 lacks input 'x'", None),
        ([batch(), {"y": batch()["x"]}], "batch 1 lacks input 'x'", None),
        (broken_iterator(), "calibration data failed at batch 1: OSError: disk on fire", OSError),
    ],
)
def test_what_fails_in_a_callback_comes_out_of_the_build(batches, words, cause):
    rt = runtime()
    made = make_calibrator(rt, batches)
    with pytest.raises(CalibrationError, match=words) as caught:
        build(rt, made)
    assert made.written == b"" and made.problems
    assert cause is None or isinstance(caught.value.__cause__, cause)
    with pytest.raises(CalibrationError, match=words):
        made.check()
    with pytest.raises(CalibrationError, match="has given no calibration table"):
        made.table()


def test_what_progress_raises_comes_out_too_an_interrupt_as_it_is():
    def stop(done, total):
        raise KeyboardInterrupt

    rt = runtime()
    with pytest.raises(KeyboardInterrupt):
        build(rt, make_calibrator(rt, [batch()], progress=stop))


def test_a_failure_of_tensorrt_itself_stays_what_it_is():
    rt = runtime()
    made = make_calibrator(rt, [batch()])
    with pytest.raises(UnsupportedError, match="not"), made.watched():
        raise UnsupportedError("TensorRT did not build the model")
    made.check()


def test_a_table_that_is_no_buffer_is_a_problem():
    made = make_calibrator(runtime(), [batch()])
    made.raw.write_calibration_cache(None)
    with pytest.raises(CalibrationError, match="TypeError"):
        made.check()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"algorithm": "percentile"}, "unknown calibration algorithm 'percentile'"),
        ({"algorithm": "legacy", "quantile": 0.0}, "quantile 0.0"),
        ({"algorithm": "legacy", "regression_cutoff": 1.5}, "regression_cutoff 1.5"),
    ],
)
def test_settings_that_cannot_be_used(options, words):
    with pytest.raises(SettingsError, match=words):
        make_calibrator(runtime(), [batch()], **options)


@pytest.mark.parametrize("emulate", ["tensorrt-11.0", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_where_there_are_no_calibrators(emulate):
    with pytest.raises(UnsupportedError, match="has no calibrators") as caught:
        make_calibrator(runtime(emulate), [batch()])
    assert caught.value.mend == "--trt-int8=explicit"


def test_inputs_come_in_tensorrts_order_and_others_do_not_matter():
    rt = runtime()
    model = make([helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("MatMul", ["s", "w"], ["y"])],
                 {"a": [2, 3], "b": [2, 3]}, {"y": [2, 4]}, {"w": np.ones((3, 4), np.float32)})  # fmt: skip
    a, b = np.full((2, 3), 2, np.float32), np.full((2, 3), -8, np.float32)
    made = make_calibrator(rt, [{"label": np.zeros(2, np.int32), "b": b, "a": a}], algorithm="minmax")
    request = BuildRequest(model.SerializeToString(), strongly_typed=False, flags=frozenset({"INT8"}))
    with made.watched():
        build_plan(rt, request, calibrator=made.raw)
    reach = {name: round(float(scale) * 127) for name, scale in made.table().scales.items()}
    assert reach == {"a": 2, "b": 8, "s": 6, "y": 18}


def test_legacy_asks_for_its_quantile_and_the_others_do_not():
    made = make_calibrator(runtime(), [batch()], algorithm="legacy", quantile=0.75, regression_cutoff=0.5)
    assert (made.raw.get_quantile(), made.raw.get_regression_cutoff()) == (0.75, 0.5)
    assert made.raw.read_histogram_cache(0) is None and made.raw.write_histogram_cache(None, 0) is None
    assert not hasattr(make_calibrator(runtime(), [batch()]).raw, "get_quantile")


def test_device_memory_is_used_with_its_context_and_given_back(monkeypatch):
    driver = Driver()
    package = ModuleType("pycuda")
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    host, memory = runtime(), CudaMemory(0)
    rt = SimpleNamespace(
        trt=host.trt, features=host.features, memory=memory, title="fake", emulated=False, version="10.13.3.9"
    )
    with make_calibrator(rt, [batch(0), batch(1)]) as made:
        (address,) = made.raw.get_batch(["x"])
        first = driver.live[address][: batch()["x"].nbytes].view(np.float32).copy()
        assert made.raw.get_batch(["x"]) == [address] and made.raw.get_batch(["x"]) is None
        made.check()
        np.testing.assert_array_equal(first, batch(0)["x"].ravel())
        assert memory._staged == {}
    assert driver.live == {} and driver.leaks == []


def test_a_copy_that_fails_on_the_device_is_no_fault_of_the_data(driver):
    def fail():
        raise driver.LogicError("cuStreamSynchronize failed: invalid resource handle")

    driver.memcpy_htod_async = lambda place, array, stream: stream.work.append(fail)
    with make_calibrator(replace(runtime(), memory=CudaMemory(0)), [batch()]) as made:
        assert made.next_batch(["x"]) is None
        with pytest.raises(ExecutionError, match="CUDA_ERROR_INVALID_HANDLE"):
            made.check()
