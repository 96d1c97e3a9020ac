"""What the `execute` site tells of engine and context, and outputs that a fault leaves unwritten."""

from __future__ import annotations

import numpy as np

from .driver import PROFILE, Driver, sample
from .models import conv


def test_masked_elements_are_not_written():
    seen = []

    def half(site):
        if site.kind == "execute":
            seen.append(site)
            values = site.outputs["y"]
            hidden = np.zeros(values.shape, bool)
            hidden[1] = True
            site.outputs["y"] = np.ma.masked_array(values, hidden)

    driver = Driver(faults=(half,))
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    honest = Driver().once(conv(), x=sample(2))["y"]
    for _ in range(2):
        got = driver.run(context, x=sample(2))["y"]
        np.testing.assert_array_equal(got[0], honest[0])
        assert (got[1] == 77).all()  # what the driver fills its buffers with
    before = seen[1].previous_outputs["y"]
    assert type(before) is np.ndarray and before.shape == honest.shape


def test_a_run_knows_its_engine_and_context():
    seen = []
    driver = Driver(
        faults=(
            lambda site: seen.append((site.engine_id, site.context_id)) if site.kind == "execute" else None,
        )
    )
    engines = [driver.engine(conv(), profile=PROFILE) for _ in range(2)]
    for engine in engines:
        for context in (engine.create_execution_context(), engine.create_execution_context()):
            driver.run(context, x=sample(1))
    ids = [number for number, _ in seen]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert [number for _, number in seen] == [1, 2, 1, 2]
