"""Implicit INT8, up to 10.16: calibrators, dynamic ranges, caches."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.emulator.calibration import read_cache, write_cache

from .driver import PROFILE, Driver, sample
from .models import conv


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


def test_the_kind_of_a_calibrator_is_known():
    trt = Driver().trt
    assert calibrator_of(trt, []).get_algorithm() == trt.CalibrationAlgoType.MINMAX_CALIBRATION
    with pytest.raises(RuntimeError, match="pure virtual"):
        trt.IInt8Calibrator().get_algorithm()


def test_caches_survive_writing_and_reading():
    scales = {"x": np.float32(3.25), "a: b": np.float32(0.001)}
    assert read_cache(write_cache(scales, "H"), "H") == scales
    with pytest.raises(ValueError, match="header"):
        read_cache(b"", "H")
