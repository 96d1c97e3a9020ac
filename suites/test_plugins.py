"""Plugins written in Python: their clones, their fields and their end.

Claims: every execution context has its own clone of a plugin, which is why `clone()` has to be there (the TensorRT FAQ, "Why we
need clone() for Plugin interface?"; TensorRT documentation, "Adding Custom Layers Using the Python API"); fields come back from
a plan as they went in; what TensorRT holds it destroys once, and `initialize()` and `terminate()` of V2 plugins appear in pairs
(the FAQ tells of TensorRT 5.1, where they did not). TensorRT 10.0 and later offer Python plugins, TensorRT-RTX does not.

They run on the emulator, which plays the calls in the documented order, and on a real TensorRT where there is a GPU. No real
TensorRT has run them so far.
"""

from __future__ import annotations

import pytest

from pytest_trt.check.plugins import ROUTES, check_plugins
from pytest_trt.check.plugins_apart import check_apart
from pytest_trt.runtime.plugins import KINDS, offers_plugins

from ._named import demand

pytestmark = pytest.mark.faq(16)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_lives_and_ends_with_its_contexts(trt_runtime, request, kind, route):
    """Four contexts in four threads: own clones, own state, right results, the fields of the network, and nothing left behind.

    On the emulator, or on a real TensorRT with a GPU.
    """
    if not offers_plugins(trt_runtime, kind):
        pytest.skip(f"not applicable: {trt_runtime.title} takes no Python plugins of kind {kind}")
    demand(check_plugins(trt_runtime, kind, route), request)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_apart_from_an_engine(trt_runtime, request, kind):
    """`clone()`, the fields and the creator agree, and each method that TensorRT calls is there with the right arity.

    On the emulator, or on a real TensorRT; no engine runs.
    """
    base = "IPluginV3" if kind == "V3" else "IPluginV2DynamicExt"
    if not hasattr(trt_runtime.trt, base):
        pytest.skip(f"not applicable: {trt_runtime.title} has no {base}")
    demand(check_apart(trt_runtime, kind), request)
