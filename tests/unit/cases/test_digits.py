"""The classifier of digits: trained where its images are, and a lack in words elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.cases import digits
from pytest_trt.check.accuracy import run_plainly
from pytest_trt.errors import ModelError


@pytest.mark.parametrize("folders", [None, [], ["/nowhere"]])
def test_without_scikit_learn(monkeypatch, folders):
    class Spec:
        submodule_search_locations = folders

    monkeypatch.setattr(digits, "find_spec", lambda name: None if folders is None else Spec())
    lack = digits.find_digits_lack()
    assert lack is not None and "scikit-learn" in lack.reason and lack.mend.startswith("pip install")
    with pytest.raises(ModelError, match="the digits are not here"):
        digits.train_digits(0)


def test_gradients_are_those_of_the_loss():
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((2, 1, 3, 3)),
        "b1": rng.standard_normal(2),
        "w2": rng.standard_normal((3, 2, 3, 3)),
        "b2": rng.standard_normal(3),
        "w3": rng.standard_normal((10, 12)),
        "b3": rng.standard_normal(10),
    }
    x, labels = rng.standard_normal((4, 1, 8, 8)), np.array([1, 5, 9, 1])

    def loss():
        _, a1 = digits._conv(x, weights["w1"], weights["b1"])
        _, a2 = digits._conv(digits._pool(a1)[0], weights["w2"], weights["b2"])
        logits = digits._pool(a2)[0].reshape(4, -1) @ weights["w3"].T + weights["b3"]
        shifted = logits - logits.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(4), labels]))

    found = digits._gradients(weights, x, labels)
    for name, array in weights.items():
        flat = array.reshape(-1)
        for place in (0, flat.size - 1):
            kept, step = flat[place], 1e-5
            flat[place] = kept + step
            above = loss()
            flat[place] = kept - step
            below = loss()
            flat[place] = kept
            assert found[name].reshape(-1)[place] == pytest.approx(
                (above - below) / (2 * step), rel=1e-3, abs=1e-6
            )


def test_training_learns_and_repeats():
    lack = digits.find_digits_lack()
    if lack is not None:
        pytest.skip(f"{lack.reason}; to get it: {lack.mend}")
    made = digits.train_digits(0, epochs=8)
    scores = run_plainly(made.model)({"x": made.preprocess(made.test)})["logits"]
    assert np.mean(scores.argmax(axis=1) == made.test_labels) > 0.9
    again = digits.train_digits(0, epochs=8)
    assert again.model.SerializeToString() == made.model.SerializeToString()
    other = digits.train_digits(1, epochs=0)
    assert np.array_equal(other.test, made.train) and np.array_equal(other.train, made.test)
