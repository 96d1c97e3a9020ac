"""A pytest plugin for `version_matrix.py`: write what each test asked of TensorRT's builder, and how it ended.

    PYTHONPATH=benchmarks pytest suites -p route_spy --route-spy out.json ...

What was asked is read off the network and the configuration at the moment of the build, through TensorRT's own API, so it does
not depend on what this project thinks that it asked.
"""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path
from typing import Any

import pytest

_TYPES = ("FP16", "BF16", "INT8", "TF32", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the file to write."""
    parser.addoption("--route-spy", default="route.json", help="file that gets tests and builds as JSON")


class RouteSpy:
    """Tests of one run, each with its outcome, words and builds."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.tests: dict[str, dict[str, Any]] = {}
        self.deselected: list[str] = []
        self.running = ""

    @pytest.hookimpl
    def pytest_trt_update_discovery(self, discovery: Any) -> None:
        """Wrap the build call of the TensorRT that executes."""
        executor = discovery.executor
        if executor is None:
            return
        kind = executor.trt.Builder
        build = kind.build_serialized_network

        @functools.wraps(build)
        def spied(builder: Any, network: Any, config: Any) -> Any:
            self._test()["builds"].append(describe(executor.trt, network, config))
            return build(builder, network, config)

        kind.build_serialized_network = spied

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note the test that runs."""
        self.running = nodeid

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how the test ended; a failure in any phase is one."""
        entry = self._test(report.nodeid)
        if report.when == "call" or report.outcome != "passed":
            entry["outcome"] = report.outcome if entry["outcome"] != "failed" else "failed"
            if hasattr(report, "wasxfail"):
                entry["outcome"] = "xfailed"
            words = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            entry["words"] = words[-4000:]

    @pytest.hookimpl
    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Note what does not run."""
        self.deselected += [item.nodeid for item in items]

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Write everything."""
        found = {"tests": self.tests, "deselected": self.deselected}
        self.path.write_text(json.dumps(found), encoding="utf-8")

    def _test(self, nodeid: str | None = None) -> dict[str, Any]:
        return self.tests.setdefault(nodeid or self.running, {"outcome": "", "words": "", "builds": []})


def describe(trt: Any, network: Any, config: Any) -> dict[str, Any]:
    """Return what a build asks for: typing, flags, layers with a type, ranges, calibrator, Q/DQ layers, types of tensors."""
    flags = trt.BuilderFlag.__members__
    creation = trt.NetworkDefinitionCreationFlag.__members__
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [layer.get_output(slot) for layer in layers for slot in range(layer.num_outputs)]
    tensors = [tensor for tensor in tensors if tensor is not None]
    asked: dict[str, Any] = {
        "strong": "STRONGLY_TYPED" in creation and bool(network.get_flag(creation["STRONGLY_TYPED"])),
        "flags": [name for name in _TYPES if name in flags and config.get_flag(flags[name])],
        "typed": sum(bool(getattr(layer, "precision_is_set", False)) for layer in layers),
        "ranges": sum(getattr(tensor, "dynamic_range", None) is not None for tensor in tensors),
        "calibrator": False,
        "quantize": sum(layer.type.name in ("QUANTIZE", "DEQUANTIZE") for layer in layers),
        "types": sorted({tensor.dtype.name for tensor in tensors}),
    }
    with contextlib.suppress(AttributeError):
        asked["calibrator"] = config.int8_calibrator is not None
    return asked


def pytest_configure(config: pytest.Config) -> None:
    """Start the spy of this run."""
    config.pluginmanager.register(RouteSpy(config.getoption("--route-spy")), "route-spy-of-run")
