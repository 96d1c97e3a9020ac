"""Implicit INT8, up to 10.16: calibrators, dynamic ranges, caches."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import helper

from pytest_trt.emulator.calibration import read_cache, write_cache

from .driver import PROFILE, Driver, sample
from .models import conv, make


def calibrator_of(trt, batches, cache=None, base="IInt8MinMaxCalibrator"):
    class Calibrator(getattr(trt, base)):
        def __init__(self):
            getattr(trt, base).__init__(self)
            self.held, self.asked, self.written = list(batches), [], None

        def get_batch_size(self):
            return 2

        def get_batch(self, names):
            self.asked.append(list(names))
            if not self.held:
                return None
            self.current = self.held.pop(0)
            return [self.current.ctypes.data]

        def read_calibration_cache(self):
            return cache

        def write_calibration_cache(self, cache):
            self.written = bytes(cache)

    return Calibrator()


def build(driver, calibrator):
    config = driver.config(flags=("INT8",), profile=PROFILE)
    config.int8_calibrator = calibrator
    assert config.int8_calibrator is calibrator
    return driver.builder.build_serialized_network(driver.network(conv()), config)


def run(driver, plan, x):
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    return driver.run(engine.create_execution_context(), x=x)["y"]


@pytest.mark.parametrize("name", ["tensorrt-8.6.1", "tensorrt-10.13"])
def test_a_calibrator_gives_the_scales(name):
    driver = Driver(name)
    batches = [sample(2, seed=s) for s in range(3)]
    calibrator = calibrator_of(driver.trt, batches)
    plan = build(driver, calibrator)
    assert calibrator.asked == [["x"]] * 4
    scales = read_cache(calibrator.written, calibrator.written.decode().splitlines()[0])
    assert scales["x"] == np.float32(float(max(np.abs(batch).max() for batch in batches)) / 127)
    x = sample(2, seed=1)
    exact = Driver(name).once(conv(), x=x)["y"]
    got = run(driver, plan, x)
    assert np.any(got != exact)
    np.testing.assert_allclose(got, exact, atol=0.25)


def test_a_cache_replaces_the_batches():
    driver = Driver()
    first = calibrator_of(driver.trt, [sample(2)])
    plan = build(driver, first)
    second = calibrator_of(driver.trt, [], cache=first.written)
    assert bytes(build(driver, second)) == bytes(plan) and not second.asked


def test_a_cache_of_another_version_is_not_used():
    driver = Driver()
    calibrator = calibrator_of(
        driver.trt, [sample(2)], cache=write_cache({"x": 1.0}, "emulator-8601-MinMaxCalibration")
    )
    assert build(driver, calibrator) is not None
    assert "emulator-8601" in driver.log.texts("WARNING")[-1] and calibrator.asked


@pytest.mark.parametrize(
    "lines",
    ["x: zz", "x", "x: 1ffffffff", "x: -1", "x: 7fc00000", "x: 7f800000", "x: 00000000", "x: bf800000"],
)
def test_a_cache_that_cannot_be_read_is_not_used(lines):
    driver = Driver()
    cache = f"emulator-101303-MinMaxCalibration\n{lines}\n".encode()
    calibrator = calibrator_of(driver.trt, [sample(2)], cache=cache)
    assert build(driver, calibrator) is not None
    assert len(calibrator.asked) == 2 and "calibrating anew" in driver.log.texts("WARNING")[-1]


@pytest.mark.parametrize("cache", [b"", "text", 7])
def test_what_is_no_cache_counts_as_none(cache, capfd):
    driver = Driver()
    calibrator = calibrator_of(driver.trt, [sample(2)], cache=cache)
    assert build(driver, calibrator) is not None and len(calibrator.asked) == 2
    assert not driver.log.texts("WARNING")
    assert ("TypeError" in capfd.readouterr().err) == (cache != b"")


def test_a_cache_of_another_algorithm_is_not_used():
    driver = Driver()
    first = calibrator_of(driver.trt, [sample(2)])
    build(driver, first)
    second = calibrator_of(driver.trt, [sample(2)], cache=first.written, base="IInt8EntropyCalibrator2")
    assert build(driver, second) is not None and second.asked
    assert second.written.startswith(b"emulator-101303-EntropyCalibration2\n")


def test_a_calibrator_without_batches_fails_the_build():
    driver = Driver()
    assert build(driver, calibrator_of(driver.trt, [])) is None
    assert "no scaling factors" in driver.log.texts()[-1]


def test_dynamic_ranges_give_the_scales():
    driver, x = Driver(), sample(2)
    network = driver.network(conv())
    tensor = network.get_input(0)
    assert tensor.set_dynamic_range(-4.0, 4.0) and tensor.dynamic_range == (-4.0, 4.0)
    assert not tensor.set_dynamic_range(1.0, -1.0)
    plan = driver.builder.build_serialized_network(network, driver.config(flags=("INT8",), profile=PROFILE))
    got = run(driver, plan, x)
    np.testing.assert_allclose(got, Driver().once(conv(), x=x)["y"], atol=0.3)
    tensor.reset_dynamic_range()
    assert tensor.dynamic_range is None


def test_a_fault_sees_the_scales():
    def halve(site):
        if site.kind == "calibrate" and site.stage == "engine":
            site.scales["x"] *= np.float32(0.5)

    honest, faulty = Driver(), Driver(faults=(halve,))
    plans = [build(d, calibrator_of(d.trt, [sample(2)])) for d in (honest, faulty)]
    assert bytes(plans[0]) != bytes(plans[1])


def two_products(x="x"):
    weights = {"a": np.eye(4, dtype="f4"), "b": 2 * np.eye(4, dtype="f4")}
    nodes = [
        helper.make_node("MatMul", [x, "a"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "b"], ["y"], name="second"),
    ]
    return make(nodes, {"x": [2, 4]}, {"y": [2, 4]}, weights)


def kinds(driver, plan):
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    text = engine.create_engine_inspector().get_engine_information(driver.trt.LayerInformationFormat.JSON)
    layers = json.loads(text)["Layers"]
    return {layer["Name"]: layer["Inputs"][0]["Format/Datatype"] for layer in layers}


@pytest.mark.parametrize(("flags", "other"), [(("INT8",), "FP32"), (("INT8", "FP16"), "FP16")])
def test_a_tensor_without_a_scale_is_named_and_its_reader_is_not_int8(flags, other):
    driver = Driver()
    network, config = driver.network(two_products()), driver.config(flags=flags)
    assert network.get_input(0).set_dynamic_range(-1.0, 1.0)
    plan = driver.builder.build_serialized_network(network, config)
    (told,) = driver.log.texts("WARNING")
    assert told == (
        "Missing scale and zero-point for tensor r, expect fall back to non-int8 implementation for any layer"
        " consuming or producing given tensor"
    )
    found = kinds(driver, plan)
    assert "Int8" in found["first"] and other in found["second"] and other in found["relu"]


def test_ranges_of_tensors_that_are_not_there_are_no_scales():
    driver = Driver()
    network, config = driver.network(two_products()), driver.config(flags=("INT8",))
    config.int8_calibrator = calibrator_of(
        driver.trt, [], cache=write_cache({"other": 1.0}, "emulator-101303-MinMaxCalibration")
    )
    assert driver.builder.build_serialized_network(network, config) is None
    assert "no scaling factors" in driver.log.texts()[-1]


def test_a_tensor_of_zeros_has_no_scale():
    driver = Driver()
    calibrator = calibrator_of(driver.trt, [-np.ones((2, 4), "f4")])
    config = driver.config(flags=("INT8",))
    config.int8_calibrator = calibrator
    assert driver.builder.build_serialized_network(driver.network(two_products()), config) is not None
    assert [line.partition(b":")[0] for line in calibrator.written.splitlines()[1:]] == [b"x", b"h"]
    assert "tensor r," in driver.log.texts("WARNING")[-1]


def test_legacy_keeps_a_quantile():
    values = np.linspace(0, 1, 2 * 5 * 6 * 6, dtype="f4").reshape(2, 5, 6, 6)
    driver = Driver()
    calibrator = calibrator_of(driver.trt, [values], base="IInt8LegacyCalibrator")
    asked = []
    kind = type(calibrator)
    kind.get_quantile = lambda self: 0.5
    kind.get_regression_cutoff = lambda self: 1.0
    kind.read_histogram_cache = lambda self, length: asked.append(length)
    assert build(driver, calibrator) is not None
    scales = read_cache(calibrator.written, "emulator-101303-LegacyCalibration")
    assert scales["x"] * 127 == pytest.approx(0.5, abs=2e-3) and asked == [0]


@pytest.mark.parametrize("quantile", [None, 0.0, 1.5])
def test_legacy_without_a_quantile_is_refused(quantile, capfd):
    driver = Driver()
    calibrator = calibrator_of(driver.trt, [sample(2)], base="IInt8LegacyCalibrator")
    if quantile is not None:
        type(calibrator).get_quantile = lambda self: quantile
    assert build(driver, calibrator) is None
    assert "quantile" in driver.log.texts()[-1]
    if quantile is None:
        assert "pure virtual" in capfd.readouterr().err


def test_the_kind_of_a_calibrator_is_known():
    trt = Driver().trt
    kinds = {
        "IInt8MinMaxCalibrator": "MINMAX_CALIBRATION",
        "IInt8EntropyCalibrator": "ENTROPY_CALIBRATION",
        "IInt8EntropyCalibrator2": "ENTROPY_CALIBRATION_2",
        "IInt8LegacyCalibrator": "LEGACY_CALIBRATION",
    }
    for base, name in kinds.items():
        assert calibrator_of(trt, [], base=base).get_algorithm() == getattr(trt.CalibrationAlgoType, name)
    with pytest.raises(RuntimeError, match="pure virtual"):
        trt.IInt8Calibrator().get_algorithm()


def test_caches_survive_writing_and_reading():
    scales = {"x": np.float32(3.25), "a: b": np.float32(0.001)}
    assert read_cache(write_cache(scales, "H"), "H") == scales
    with pytest.raises(ValueError, match="header"):
        read_cache(b"", "H")
