"""`stream`: a fresh stream with a handle, destroyed after the test."""

from __future__ import annotations

from tests.plugin.conftest import Trt


def test_fresh_and_destroyed(trt: Trt) -> None:
    trt.tests("""
        def test_a(stream, trt_stream, trt_runtime):
            assert stream is trt_stream
            assert isinstance(stream.handle, int)
            stream.synchronize()
            assert trt_runtime.memory.alive == 1
        def test_b(trt_runtime):
            assert trt_runtime.memory.alive == 0
    """)
    trt.run().assert_outcomes(passed=2)
