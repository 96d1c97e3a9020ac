"""Which class of the bindings is played by which of ours; the others raise `NotEmulated`."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_trt.emulator import (
    builder,
    callbacks,
    config,
    context,
    engine,
    inspector,
    loading,
    network,
    parser,
    profiles,
    refit,
    tensors,
    values,
)
from pytest_trt.emulator.bound import Bound

IMPLEMENTATIONS: Mapping[str, type[Bound]] = {
    "Builder": builder.Builder,
    "Dims": values.Dims,
    "Dims2": values.Dims,
    "Dims3": values.Dims,
    "Dims4": values.Dims,
    "DimsHW": values.DimsHW,
    "EngineInspector": inspector.Inspector,
    "IBuilderConfig": config.BuilderConfig,
    "ICudaEngine": engine.Engine,
    "IDebugListener": callbacks.IDebugListener,
    "IErrorRecorder": callbacks.IErrorRecorder,
    "IExecutionContext": context.ExecutionContext,
    "IHostMemory": values.HostMemory,
    "IInt8Calibrator": callbacks.IInt8Calibrator,
    "IInt8EntropyCalibrator": callbacks.IInt8EntropyCalibrator,
    "IInt8EntropyCalibrator2": callbacks.IInt8EntropyCalibrator2,
    "IInt8LegacyCalibrator": callbacks.IInt8LegacyCalibrator,
    "IInt8MinMaxCalibrator": callbacks.IInt8MinMaxCalibrator,
    "ILayer": tensors.Layer,
    "ILogger": callbacks.ILogger,
    "INetworkDefinition": network.Network,
    "IOptimizationProfile": profiles.Profile,
    "IOutputAllocator": callbacks.IOutputAllocator,
    "IProfiler": callbacks.IProfiler,
    "IProgressMonitor": callbacks.IProgressMonitor,
    "IRuntimeConfig": engine.RuntimeConfig,
    "ISerializationConfig": engine.SerializationConfig,
    "IStreamWriter": callbacks.IStreamWriter,
    "ITensor": tensors.Tensor,
    "ITimingCache": profiles.TimingCache,
    "Logger": callbacks.Logger,
    "OnnxParser": parser.OnnxParser,
    "ParserError": parser.ParserError,
    "Profiler": callbacks.Profiler,
    "Refitter": refit.Refitter,
    "Runtime": loading.Runtime,
    "Weights": values.Weights,
}
