"""A small engine on the emulator, for the tests of what is timed."""

from __future__ import annotations

import numpy as np

from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.session import Session, load_engine
from tests.unit.check.models import PROFILE, conv_model

X = np.arange(108, dtype=np.float32).reshape(1, 3, 6, 6)


def start(rt=None, **settings):
    """Return a session that has run once."""
    rt = discover(Settings(**{"runtime": "emulator", "gpu": "t4", **settings})).executor if rt is None else rt
    model = conv_model(relu=True).SerializeToString()
    session = Session(rt, load_engine(rt, build_plan(rt, BuildRequest(model=model, profile=PROFILE))))
    session.run({"x": X})
    return session
