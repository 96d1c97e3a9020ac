"""The rules of other tools, by hand and against Polygraphy itself."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.bite.peers import PEERS, Pair

NAN, INF = np.nan, np.inf


def refused(got, want, kind="fp32"):
    """Return the names of the tools that refuse `got`."""
    pair = Pair.of(np.asarray(got, np.float64), np.asarray(want, np.float64), kind)
    return {name for name, refuses in PEERS.items() if refuses(pair)}


def test_equal_outputs_pass_everywhere():
    assert refused([1.0, -2.0, 0.0], [1.0, -2.0, 0.0]) == set()


def test_zero_outputs_are_alike():
    assert refused([0.0, 0.0], [0.0, 0.0]) == set()
    assert "cosine > 0.999" in refused([1e-9, 0.0], [0.0, 0.0])


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (2e-6, set()),
        (2e-4, {"np.allclose", "Polygraphy 1e-5", "torch.testing"}),
        (
            2e-3,
            {"np.allclose", "ONNX backend 1e-3/1e-7", "Polygraphy 1e-5", "Polygraphy 1e-3", "torch.testing"},
        ),
    ],
)
def test_relative_errors_at_one(error, names):
    assert refused([1.0 + error, 1.0], [1.0, 1.0]) == names


def test_polygraphy_refuses_only_where_both_differences_are_too_large():
    # Small numbers are always right within an absolute tolerance; large ones within a relative one.
    assert "Polygraphy 1e-3" not in refused([0.0], [5e-4])
    assert "Polygraphy 1e-3" not in refused([10005.0], [10000.0])
    assert "Polygraphy 1e-3" in refused([10050.0], [10000.0])


def test_torch_has_limits_by_type():
    assert "torch.testing" in refused([1.01], [1.0], "fp16")
    assert "torch.testing" not in refused([1.01], [1.0], "bf16")


def test_special_values():
    every = set(PEERS)
    same_nan = refused([NAN, 1.0], [NAN, 1.0])
    assert same_nan == every - {"ONNX backend 1e-3/1e-7"}
    same_infinity = refused([INF, 1.0], [INF, 1.0])
    assert same_infinity == {"Polygraphy 1e-5", "Polygraphy 1e-3", "Polygraphy 1e-2", "cosine > 0.999"}
    assert refused([INF, 1.0], [-INF, 1.0]) == every
    assert refused([NAN, 1.0], [1.0, 1.0]) == every
    assert refused([1.0, 1.0], [INF, 1.0]) == every


def test_cosine_sees_directions_only():
    assert refused([2.0, 4.0], [1.0, 2.0]) == set(PEERS) - {"cosine > 0.999"}
    assert "cosine > 0.999" in refused([1.0, 0.0], [1.0, 1.0])
    assert "cosine > 0.999" not in refused([1e200, 1e200], [1e200, 1e200])


@pytest.mark.filterwarnings("ignore")  # of Polygraphy's own
def test_the_rules_are_polygraphys_own():
    comparator = pytest.importorskip("polygraphy.comparator", reason="pip install 'pytest-trt[bench]'")
    from polygraphy.logger import G_LOGGER

    rng = np.random.default_rng(5)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-6, 65504.0], np.float32)
    verdicts = set()
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        for number in range(60):
            want = (rng.standard_normal(9) * 10.0 ** rng.integers(-6, 4)).astype(np.float32)
            if number % 3 == 0:
                want[rng.integers(9)] = rng.choice(special)
            got = want * np.float32(1 + rng.choice([0, 1e-6, 1e-4, 5e-3, 0.1]))
            if number % 5 == 0:
                got[rng.integers(9)] = rng.choice(special)
            for tolerance, name in ((1e-5, "1e-5"), (1e-3, "1e-3"), (1e-2, "1e-2")):
                compare = comparator.CompareFunc.simple(rtol=tolerance, atol=tolerance)
                theirs = compare(
                    comparator.IterationResult({"y": got}), comparator.IterationResult({"y": want})
                )
                ours = PEERS[f"Polygraphy {name}"](Pair.of(got, want, "fp32"))
                assert ours is not bool(theirs["y"]), (got, want, tolerance)
                verdicts.add(ours)
    assert verdicts == {True, False}
