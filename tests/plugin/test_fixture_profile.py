"""`trt_profile`: layers, their sum against whole runs, and the section of the report."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.test_fixture_timer import BENCHMARK, MODEL

OPTIONS = ("-p", "pytest_trt.timing", "--trt-runtime=emulator", "--trt-precision=fp32")


def test_layers_sum_up_and_are_in_the_report(bare_trt: Trt) -> None:
    bare_trt.tests(
        MODEL
        + """
def test_it(ready, trt_profile, trt_timer):
    found = trt_profile(ready, runs=3, whole=trt_timer(ready), label="product")
    assert [name for name, _ in found.layers] == ["product", "relu"]
    assert found.share_of_total == pytest.approx(1) and found.reliable
    assert trt_profile(ready).runs == 10
"""
    )
    result = bare_trt.run(*OPTIONS, *BENCHMARK, "--trt-report=out")
    result.assert_outcomes(passed=1)
    page = (bare_trt.pytester.path / "out" / "report.md").read_text()
    assert "Layers by time: product" in page and "| product | 2.000 | 50.0 % |" in page


def test_what_cannot_be_relied_on_is_warned_of(bare_trt: Trt) -> None:
    bare_trt.tests(
        MODEL
        + """
def test_it(ready, trt_profile, monkeypatch):
    from pytest_trt.errors import UnreliableWarning
    monkeypatch.setattr("pytest_trt.bench.clocks.LayerClock.take", lambda self: (("product", 1.0), ("relu", 1.0)))
    with pytest.warns(UnreliableWarning, match="the layers take 5e.07 % of a run without profiler"):
        assert not trt_profile(ready).reliable
"""
    )
    bare_trt.run(*OPTIONS).assert_outcomes(passed=1)
