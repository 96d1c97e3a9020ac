"""The fixture that shows what lies between the layers of a network, and which of them is wrong first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.fixtures import running_precision
from pytest_trt.session import session_of
from pytest_trt.studies import attach

if TYPE_CHECKING:
    from pytest_trt.check.dump import LayerDump


@pytest.fixture(scope="session")
def trt_layers(pytestconfig: pytest.Config) -> Callable[..., LayerDump]:
    """Factory: `trt_layers(model, inputs, *, precision=None, profile=None, how="auto")` returns a LayerDump.

    Every tensor of the network as the engine gave it, each layer judged on the engine's own tensors before it, and the first bad
    one in `first_bad`. Where seeing all tensors at once makes a defect vanish, it is searched for with fewer marks and shorter
    networks. `how` is `marked`, `debug`, `unfused` or `auto`. Nothing fails by itself: `assert dump.passed, str(dump)`.
    """
    __tracebackhide__ = True
    session = session_of(pytestconfig)
    session.need_engines()

    def trt_layers(
        model: Any,
        inputs: Mapping[str, Any],
        *,
        precision: str | None = None,
        profile: Any = None,
        how: str = "auto",
    ) -> LayerDump:
        __tracebackhide__ = True
        from pytest_trt.check.dump import dump_layers

        asked = running_precision(session, precision, "trt_layers")
        dump = dump_layers(session.workbench, model, inputs, precision=asked, profile=profile, how=how)
        attach(session, dump.section())
        return dump

    return trt_layers
