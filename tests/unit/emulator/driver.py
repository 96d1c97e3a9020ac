"""Drives the raw API of an emulated TensorRT, as a user's program would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from pytest_trt import emulator


class Log:
    """The lines that a logger got."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def texts(self, severity: str = "ERROR") -> list[str]:
        return [text for kind, text in self.lines if kind == severity]


def logger_of(trt: Any) -> tuple[Any, Log]:
    log = Log()

    class Recording(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            log.lines.append((severity.name, msg))

    return Recording(), log


class Driver:
    """One emulated TensorRT with a recording logger."""

    def __init__(self, name: str = "tensorrt-10.13", gpu: str = "a100", **options: Any) -> None:
        product, version = emulator.resolve(name)
        self.trt = emulator.load(product, version, gpu, **options)
        self.gpu = gpu
        self.logger, self.log = logger_of(self.trt)
        self.builder = self.trt.Builder(self.logger)

    def network(self, model: onnx.ModelProto, strong: bool = False) -> Any:
        flags = self.trt.NetworkDefinitionCreationFlag
        bits = 0
        if hasattr(flags, "EXPLICIT_BATCH"):
            bits |= 1 << int(flags.EXPLICIT_BATCH)
        if strong and hasattr(flags, "STRONGLY_TYPED"):
            bits |= 1 << int(flags.STRONGLY_TYPED)
        network = self.builder.create_network(bits)
        parser = self.trt.OnnxParser(network, self.logger)
        assert parser.parse(model.SerializeToString()), self.log.lines
        return network

    def config(self, flags: Sequence[str] = (), clear: Sequence[str] = ("TF32",), profile: Any = None) -> Any:
        config = self.builder.create_builder_config()
        for flag in flags:
            config.set_flag(getattr(self.trt.BuilderFlag, flag))
        for flag in clear:
            config.clear_flag(getattr(self.trt.BuilderFlag, flag))
        if hasattr(self.trt, "ComputeCapability"):
            config.num_compute_capabilities = 1
            assert config.set_compute_capability(self.trt.ComputeCapability.CURRENT, 0)
        config.profiling_verbosity = self.trt.ProfilingVerbosity.DETAILED
        if profile:
            made = self.builder.create_optimization_profile()
            for name, shapes in profile.items():
                made.set_shape(name, *shapes)
            assert config.add_optimization_profile(made) == 0
        return config

    def plan(self, model: onnx.ModelProto, strong: bool = False, **settings: Any) -> Any:
        return self.builder.build_serialized_network(self.network(model, strong), self.config(**settings))

    def engine(self, model: onnx.ModelProto, strong: bool = False, **settings: Any) -> Any:
        plan = self.plan(model, strong, **settings)
        assert plan is not None, self.log.lines
        engine = self.trt.Runtime(self.logger).deserialize_cuda_engine(plan)
        assert engine is not None, self.log.lines
        return engine

    def run(self, context: Any, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run asynchronously and wait."""
        streams = self.trt.emulated_streams
        engine = context.engine
        held, outputs = [], {}
        for name, array in inputs.items():
            held.append(np.ascontiguousarray(array))
            assert context.set_input_shape(name, array.shape), self.log.lines
            assert context.set_tensor_address(name, held[-1].ctypes.data)
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            if engine.get_tensor_mode(name) == self.trt.TensorIOMode.OUTPUT:
                kind = self.trt.nptype(engine.get_tensor_dtype(name))
                outputs[name] = np.full(tuple(context.get_tensor_shape(name)), 77, kind)
                assert context.set_tensor_address(name, outputs[name].ctypes.data)
        stream = streams.create_stream()
        assert context.execute_async_v3(stream), self.log.lines
        streams.synchronize(stream)
        streams.destroy(stream)
        return outputs

    def once(self, model: onnx.ModelProto, strong: bool = False, **settings: Any) -> Any:
        """Build for exactly these inputs (given as `x=array`) and return the outputs."""
        inputs = {
            name: settings.pop(name) for name in list(settings) if isinstance(settings[name], np.ndarray)
        }
        profile = {name: (array.shape,) * 3 for name, array in inputs.items()}
        engine = self.engine(model, strong, profile=profile, **settings)
        return self.run(engine.create_execution_context(), **inputs)


PROFILE = {"x": ((1, 5, 6, 6), (2, 5, 6, 6), (4, 5, 6, 6))}


def sample(batch: int = 2, seed: int = 0, shape: tuple[int, ...] = (5, 6, 6)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, *shape)).astype("f4")
