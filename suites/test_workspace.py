"""The workspace limit: walked down from the default it never gives another answer, until it is refused in words.

Claim: `max_workspace_size`, today `set_memory_pool_limit(MemoryPoolType.WORKSPACE, n)`, says how much scratch memory an
implementation may need; those that need more are not used, and where none is left the build fails (TensorRT API,
`IBuilderConfig::setMemoryPoolLimit`).
"""

from __future__ import annotations

import pytest

from pytest_trt.check.workspace import check_engines, check_steps, steps_of, walk
from pytest_trt.runtime.contained import DONE, run_contained

from ._named import demand


@pytest.mark.faq(7)
def test_workspace_limits(trt_runtime, request):
    """A convolution on small integers, from the default limit down to none. Runs on the emulator, or on a GPU."""
    steps = walk(trt_runtime)
    must = trt_runtime.emulated or trt_runtime.features.rtx
    demand([*check_steps(steps, must_refuse=must), *check_engines(trt_runtime, steps)], request)


@pytest.mark.faq(7)
def test_workspace_limits_of_the_builder(trt_runtime, targeted, request):
    """The same with the real TensorRT that builds, for three compute capabilities, each in a process of its own."""
    known = targeted.features.compute_capabilities
    if not known:
        pytest.skip(
            f"not applicable: {targeted.title} builds for its own GPU alone, which the test before did"
        )
    items = {f"SM{sm}": sm for sm in (75, 89, 120) if f"SM{sm}" in known}
    rows = []
    for ended in run_contained(
        "pytest_trt.check.workspace:walker", items, arguments={"gpu": targeted.gpu.name}, batch=1
    ):
        assert ended.how == DONE, f"{ended.key}: {ended.how}: {ended.words} {ended.printed}"
        told = check_steps(steps_of(ended.value), must_refuse=True)
        rows += [(check, wrong and f"{ended.key}: {wrong}") for check, wrong in told]
    demand(rows, request)
