"""One exact network on every GPU class that can be emulated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pytest_trt import hardware
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.session import Session

from ._named import Checked
from ._plans import FEED, build

EVERY_CLASS = "every-gpu-class"


def check_classes(rt: Runtime, settings: Settings) -> Iterator[Checked]:
    """Yield whether each GPU class gives the bits that most of them give: small integers, so none may differ.

    Parameters
    ----------
    rt : Runtime
        An emulator.
    settings : Settings
        Its settings, faults included.
    """
    answers = {}
    for name in hardware.names():
        other = discover(replace(settings, runtime="emulator", device="cpu", gpu=name)).executor
        assert other is not None
        if rt.features.rtx and f"SM{other.gpu.sm}" not in other.features.compute_capabilities:
            continue
        with Session(other, build(other)) as session:
            answers[name] = session.run({"x": FEED})["y"].astype(np.float64).tobytes()
    (usual, count), *_ = Counter(answers.values()).most_common(1)
    odd = [name for name, bits in answers.items() if bits != usual]
    yield EVERY_CLASS, f"{', '.join(odd)}: other bits than on {count} other GPU classes" if odd else None
