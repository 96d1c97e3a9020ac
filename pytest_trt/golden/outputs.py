"""Goldens of outputs: under which key they are kept, what is known of where they come from, and what of them is exact."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import pytest_trt
from pytest_trt import hardware
from pytest_trt.errors import UsageError
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import OUTPUTS, Array, Golden
from pytest_trt.runtime.load import Runtime


def product_of(rt: Runtime) -> str:
    """Return product and version as a key has them.

    Of the emulator: what it plays, and the ONNX Runtime that computes, `emulator+tensorrt-10.13.3.9+ort-1.23`.
    """
    if not rt.emulated:
        return rt.plays
    return f"emulator+{rt.plays}+ort-{'.'.join(onnxruntime.__version__.split('.')[:2])}"


@lru_cache(maxsize=1)
def name_machine() -> str:
    """Return what stands for this processor in a key: the last bits of ONNX Runtime's sums depend on it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = platform.processor()
    told = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in text.splitlines()}
    names = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU part", "Features")
    facts = [platform.machine(), *(told.get(name, "") for name in names)]
    return hashlib.sha256("\n".join(facts or [text]).encode()).hexdigest()[:8]


def golden_of_outputs(
    rt: Runtime,
    case: str,
    precision: str,
    outputs: Mapping[str, Any],
    *,
    inputs: Mapping[str, Any] | None = None,
    model: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Golden:
    """Return outputs as a golden of today.

    Parameters
    ----------
    rt : Runtime
        Who gave them.
    case, precision : str
        Of the key: `int8+fp16` for INT8 with FP16 beside it.
    outputs : mapping of str to array
    inputs : mapping of str to array, optional
    model : str, optional
        Its digest. Outputs of another model, or of other inputs, are not compared.
    facts : mapping, optional
        Plain data to be kept besides.

    Raises
    ------
    UsageError
        There are no outputs, or they are no mapping of names to arrays.
    """
    if not isinstance(outputs, Mapping) or not outputs or not all(isinstance(name, str) for name in outputs):
        raise UsageError(
            f"golden {case!r}: outputs are a mapping of name to array",
            why=f"this is {outputs!r:.80}",
            mend='trt_golden("my-case", {"y": array})',
        )
    if not isinstance(case, str):
        raise UsageError(f"a golden needs a name, and {case!r:.80} is none")
    arrays = {name: np.array(values) for name, values in outputs.items()}
    known: dict[str, Any] = dict(facts or {})
    if inputs is not None:
        known["inputs"] = digest_of(inputs)
    if model is not None:
        known["model"] = model
    key = Key(case, precision, rt.gpu.name, product_of(rt))
    return Golden(key, OUTPUTS, arrays, known, describe_runtime(rt))


def describe_runtime(rt: Runtime) -> dict[str, Any]:
    """Return what a golden says of where it comes from; plain data."""
    facts: dict[str, Any] = {
        "product": rt.product,
        "plays": rt.plays,
        "version": rt.version,
        "gpu_class": rt.gpu.name,
        "sm": rt.gpu.sm,
        "device": rt.device,
        "onnxruntime": onnxruntime.__version__,
        "onnx": onnx.__version__,
        "numpy": np.__version__,
        "pytest_trt": pytest_trt.__version__,
        "recorded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    gpu = hardware.find_gpu(rt.device)
    if gpu is not None:
        facts |= {"gpu": gpu.title, "driver": gpu.driver}
    return facts


def split_exact(today: Golden, certified: frozenset[str]) -> tuple[Golden | None, Golden | None]:
    """Return what holds on every machine, and what holds on this one alone; None for a part that is empty.

    Parameters
    ----------
    today : Golden
        Of the emulator.
    certified : frozenset of str
        Outputs with one admissible value an element. They are kept under the product; all others under the product and a name
        of this processor.
    """
    rest = {name: values for name, values in today.arrays.items() if name not in certified}
    local = None
    if rest:
        key = today.key.of(f"{today.key.product}+cpu-{name_machine()}")
        local = replace(today, key=key, arrays=rest)
    if not certified:
        return None, local
    exact = {name: values for name, values in today.arrays.items() if name in certified}
    return replace(today, arrays=exact), local


def digest_of(arrays: Mapping[str, Any]) -> str:
    """Return what names a set of inputs: their names, types, shapes and values."""
    made = hashlib.sha256()
    for name in sorted(arrays):
        values: Array = np.ascontiguousarray(arrays[name])
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        made.update(f"{name} {little.dtype.str} {np.shape(arrays[name])};".encode())
        made.update(little.tobytes())
    return made.hexdigest()[:32]
