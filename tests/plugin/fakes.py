"""A conftest for the inner sessions of these tests: runtimes and a workbench that only record what they are asked.

`FAKE_TRT` says what the machine has: `builder` (a real TensorRT builds), `real` (one executes), `nothing` (nothing
executes), `broken` (a TensorRT whose library is missing), `absent` (the runtime that was asked for is not there).
"""

import os
from types import SimpleNamespace

from pytest_trt.errors import ConformanceError, RuntimeMissingError
from pytest_trt.records import Missing, Verdict


class FakeMemory:
    def __init__(self):
        self.alive = 0

    def active(self):
        import contextlib

        return contextlib.nullcontext()

    def create_stream(self):
        self.alive += 1
        return SimpleNamespace(handle=41 + self.alive, synchronize=lambda: None)

    def destroy_stream(self, stream):
        self.alive -= 1


class FakeEngine:
    def __init__(self, *asked):
        self.asked = asked
        self.contexts = 0

    def create_execution_context(self):
        self.contexts += 1
        return (
            None if "no-context" in str(self.asked[0]) else SimpleNamespace(engine=self, number=self.contexts)
        )


class FakeWorkbench:
    def __init__(self, settings):
        self.settings = settings
        self.engines = {}

    def engine(self, model, precision, profile=None):
        key = (str(model), precision)
        return self.engines.setdefault(key, FakeEngine(model, precision, profile))

    def build(self, model, precision, profile=None, **build):
        return ("build", model, precision, profile, build)

    def session(self, model, precision, profile=None, **build):
        return ("session", model, precision, profile, build)

    def check(self, model, inputs, *, data, **more):
        self.last = {"model": model, "inputs": inputs, "data": data, **more}
        where = {"runtime": "fake 1.0", "data": data or ("tiny",)}
        if model == b"wrong":
            error = ConformanceError("output 'y': 3 of 9 values outside the allowance")
            error.verdict = Verdict("violates", compared=9, certified=9, provenance=where)
            raise error
        if model == b"odd":
            return Verdict("unjudged", compared=10, unjudged={"Softmax": 2}, provenance=where)
        relations = ("identical rows",)
        return Verdict("conforms", compared=1000, certified=250, relations=relations, provenance=where)

    def compare(self, got, want, *, limit):
        return Verdict("conforms" if abs(got - want) <= limit else "violates", compared=1)

    def close(self):
        with open("closed.txt", "a") as file:
            file.write("closed\n")


def pytest_trt_make_discovery(config, settings):
    have = os.environ.get("FAKE_TRT", "").split(",")
    if settings.runtime == "off":
        return SimpleNamespace(executor=None, builder=None, missing=(), label="off", close=lambda: None)
    if "absent" in have:
        raise RuntimeMissingError(
            "TensorRT is not usable: ImportError: libnvinfer.so.10: cannot open", mend="pip install it"
        )
    memory = FakeMemory()
    emulator = SimpleNamespace(
        emulated=True, device="cpu", memory=memory, title="emulator (tensorrt-10.13.3.9)"
    )
    real = SimpleNamespace(emulated=False, device="cuda:0", memory=memory, title="TensorRT 10.13.3.9")
    builder = SimpleNamespace(emulated=False, device="cpu", memory=None, title="TensorRT-RTX 1.7.1.116")
    executor = real if "real" in have else None if "nothing" in have else emulator
    missing = [
        Missing("gpu", "no NVIDIA GPU and driver on this machine", "run on a machine with an NVIDIA GPU")
    ]
    if "broken" in have:
        missing.append(Missing("tensorrt", "ImportError: libnvinfer.so.10: cannot open", "pip install it"))
    if "builder" not in have and "real" not in have:
        missing.append(Missing("build", "TensorRT-RTX is not installed", 'pip install "pytest-trt[rtx]"'))
    return SimpleNamespace(
        close=lambda: None,
        executor=executor,
        builder=real if "real" in have else builder if "builder" in have else None,
        missing=tuple(missing),
        label=executor.title if executor else "none",
    )


def pytest_trt_make_workbench(config, settings, discovery):
    config.fake_workbench = FakeWorkbench(settings)
    return config.fake_workbench
