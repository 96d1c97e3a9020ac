"""A TensorRT of a few lines whose factories can be told to fail, and a GPU class to go with it."""

from __future__ import annotations

import enum
import os
from types import SimpleNamespace
from typing import Any

from pytest_trt import hardware
from pytest_trt.runtime.features import Features
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import TrtLogger


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        self.ready = True


class FakeTrt:
    """Its `fail` names the factory that gives None or False; `says` is what it then logs."""

    def __init__(
        self, fail: str = "", says: str = "the words of TensorRT", errors: tuple[str, ...] = ()
    ) -> None:
        self.fail, self.says, self.errors = fail, says, errors
        self.ILogger = ILogger
        self.BuilderFlag = enum.IntEnum("BuilderFlag", {"FP16": 0, "TF32": 6})
        self.NetworkDefinitionCreationFlag = enum.IntEnum("Flag", {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1})
        self.ProfilingVerbosity = enum.IntEnum("Verbosity", {"DETAILED": 2})
        self.PreviewFeature = enum.IntEnum("PreviewFeature", {"PROFILE_SHARING_0806": 2})
        self.previews: dict[Any, bool] = {}
        self.MemoryPoolType = enum.IntEnum("Pool", {"WORKSPACE": 0})
        for name in ("IBuilderConfig", "ILayer", "ITensor", "INetworkDefinition", "ICudaEngine"):
            setattr(self, name, type(name, (), {}))
        self.flags: dict[Any, bool] = {self.BuilderFlag.TF32: True}
        self.network_mask = -1
        self.pools: dict[Any, int] = {}
        self.taken: list[Any] = []
        self.prints = b""

    def gives(self, name: str, thing: Any) -> Any:
        if name == "build_serialized_network":
            os.write(1, self.prints)
        if self.fail == name:
            self.logger.log(Severity.ERROR, self.says)
            return False if thing is True else None
        return thing

    def set_dynamic_range(self, low: float, high: float) -> bool:
        self.taken.append((low, high))
        return self.fail != "set_dynamic_range"

    def Builder(self, logger: Any) -> Any:
        self.logger = logger
        config = SimpleNamespace(
            set_flag=lambda flag: self.flags.__setitem__(flag, self.fail != "set_flag"),
            clear_flag=lambda flag: self.flags.__setitem__(flag, False),
            get_flag=lambda flag: self.flags.get(flag, False),
            set_compute_capability=lambda capability, index: self.fail != "set_compute_capability",
            get_preview_feature=lambda feature: self.previews.get(feature, False),
            set_preview_feature=self.previews.__setitem__,
            set_memory_pool_limit=self.pools.__setitem__,
            add_optimization_profile=lambda profile: -1 if self.fail == "add_optimization_profile" else 0,
        )
        tensor = SimpleNamespace(name="x", shape=(-1, 3), set_dynamic_range=self.set_dynamic_range)

        def create_network(mask: int) -> Any:
            self.network_mask = mask
            outputs = 0 if self.fail == "outputs" else 1
            network = SimpleNamespace(
                num_inputs=1,
                get_input=lambda index: tensor,
                num_outputs=outputs,
                get_output=lambda index: SimpleNamespace(name="y"),
                num_layers=0,
            )
            return self.gives("create_network", network)

        return self.gives(
            "Builder",
            SimpleNamespace(
                create_network=create_network,
                create_builder_config=lambda: self.gives("create_builder_config", config),
                create_optimization_profile=lambda: self.gives(
                    "create_optimization_profile",
                    SimpleNamespace(set_shape=lambda *args: self.taken.append(args)),
                ),
                build_serialized_network=lambda network, made: self.gives(
                    "build_serialized_network", b"plan"
                ),
            ),
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        errors = [
            SimpleNamespace(
                code=lambda code=code: SimpleNamespace(name=code),
                desc=lambda code=code: f"about {code}",
                node=lambda: 3,
            )
            for code in self.errors
        ]
        return self.gives(
            "OnnxParser",
            SimpleNamespace(
                parse=lambda model: not errors, num_errors=len(errors), get_error=lambda index: errors[index]
            ),
        )

    def Runtime(self, logger: Any) -> Any:
        self.logger = logger
        return SimpleNamespace(
            deserialize_cuda_engine=lambda data: self.gives("deserialize_cuda_engine", SimpleNamespace())
        )


def fake_runtime(trt: Any, **changes: Any) -> Runtime:
    """Return a builder of the fake."""
    facts: dict[str, Any] = {
        "trt": trt,
        "product": "tensorrt",
        "plays": "tensorrt-10.0.0",
        "version": "10.0.0",
        "gpu": hardware.get("t4"),
        "device": "cpu",
        "emulated": False,
        "can_build": True,
        "can_execute": False,
        "features": Features.of(trt),
        "memory": None,
        "logger": TrtLogger(trt),
    }
    return Runtime(**{**facts, **changes})
