"""The adapter: one way to find, build with and run TensorRT 8.6 to 11.x, TensorRT-RTX, and the emulator."""

from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Discovery, Runtime, discover
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.plans import PlanCache
from pytest_trt.runtime.session import Session, load_engine

__all__ = [
    "BuildRequest",
    "Discovery",
    "Plan",
    "PlanCache",
    "Runtime",
    "Session",
    "build_plan",
    "discover",
    "load_engine",
]
