"""Which TensorRT this is: all that tells its version tells the same one.

Claim 1 of the TensorRT FAQ: the version shows in the symbols of the library (`tensorrt_version_*`) and in the macros of its
header. Besides, the bindings' `__version__`, the package, `getInferLibVersion()` and the SONAME have to agree with them. The
emulator has no library: its module and its parser's number are all there is.
"""

from __future__ import annotations

import pytest

from pytest_trt.report.sections import attach
from pytest_trt.runtime import agreement

from ._named import demand, demand_built
from ._version import check_emulated, table

pytestmark = pytest.mark.faq(1)


def test_versions_agree(trt_runtime, request):
    """Of who executes."""
    if trt_runtime.emulated:
        demand(check_emulated(trt_runtime), request)
        return
    found = agreement.collect(trt_runtime.product, trt_runtime.trt)
    attach(request.node, table(found))
    demand(agreement.compare(found), request)


def test_versions_of_the_builder_agree(trt_builder, request):
    """Of the real TensorRT that builds, with or without a GPU."""
    found = agreement.collect(trt_builder.product, trt_builder.trt)
    attach(request.node, table(found))
    demand_built(agreement.compare(found), "nothing but the bindings tells a version")
