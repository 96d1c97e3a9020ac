"""Accuracy on labelled data: who is right, what is lost, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pytest_trt.check.accuracy import (
    ACCEPTED,
    INCONCLUSIVE,
    NOTE,
    REJECTED,
    cut_batches,
    measure_accuracy,
    run_plainly,
)
from pytest_trt.errors import ConformanceError, InputError, SuspiciousWarning

from ..precision.models import conv_relu, feed

CLASSES = 4


def scores_for(classes):
    """Scores whose largest is at the class given for each row."""
    made = np.zeros((len(classes), CLASSES), np.float32)
    made[np.arange(len(classes)), classes] = 1.0
    return made


def run(classes):
    """An engine that answers row i, which holds i, with a class."""
    table = np.asarray(classes)
    return lambda feed: {"scores": scores_for(table[feed["x"].astype(int)])}


def rows(n, batch=7):
    return cut_batches({"x": np.arange(n)}, batch)


def measured(n=400, lost=0, won=0, **options):
    """Reference right but for the last `won` samples, engine right but for the first `lost` ones."""
    labels = np.arange(n) % CLASSES
    reference, engine = labels.copy(), labels.copy()
    engine[:lost] = (labels[:lost] + 1) % CLASSES
    reference[n - won :] = (labels[n - won :] + 1) % CLASSES
    return measure_accuracy(run(reference), run(engine), rows(n), labels, **options)


def test_counts_and_shares():
    found = measured(400, lost=3, won=1)
    assert (found.paired.n, found.paired.lost, found.paired.won) == (400, 3, 1)
    assert found.reference_accuracy == 399 / 400
    assert found.engine_accuracy == 397 / 400
    assert found.changed == 4
    assert found.note == NOTE and "implicit INT8" in NOTE


@pytest.mark.parametrize(
    ("lost", "n", "outcome", "words"),
    [
        (0, 400, ACCEPTED, "top-1 loss 0.00% is under 1.00%, 95% sure"),
        (3, 400, INCONCLUSIVE, "top-1 loss 0.75%: 400 samples do not show that it is under 1.00%"),
        (20, 400, REJECTED, "top-1 loss 5.00% is not under 1.00%"),
    ],
)
def test_outcome_in_words(lost, n, outcome, words):
    found = measured(n, lost)
    assert found.outcome == outcome
    assert found.passed is (outcome == ACCEPTED)
    assert found.describe()[0] == words
    assert found.describe()[-1] == NOTE


def test_rejected_raises():
    with pytest.raises(ConformanceError) as caught:
        measured(400, 20).tell()
    assert "of 400 samples 20 lost and 0 won" in str(caught.value)
    assert "audit the calibration" in str(caught.value)


def test_inconclusive_warns_with_the_sample_that_can_show_it():
    found = measured(100)
    with pytest.warns(SuspiciousWarning, match="at these rates about 299 samples can show it"):
        found.tell()


def test_accepted_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured(400).tell()


def test_equal_averages_hide_no_disagreement():
    """As many won as lost: the averages are equal, and the sample shows less than one without disagreement."""
    found = measured(400, lost=30, won=30)
    assert found.reference_accuracy == found.engine_accuracy
    assert found.outcome == INCONCLUSIVE


def test_top_k_ties_and_nan():
    scores = {"reference": np.zeros((4, 3), np.float32), "engine": np.zeros((4, 3), np.float32)}
    scores["reference"][:] = [3, 2, 1]
    scores["engine"][:] = [[3, 2, 1], [2, 2, 2], [np.nan, 2, 1], [1, 2, 3]]

    def give(which):
        return lambda feed: scores[which]

    def accuracy(labels, top):
        data = [{"x": np.zeros(4)}]
        return measure_accuracy(give("reference"), give("engine"), data, labels, top=top)

    # Equal scores count in the order of the classes: only label 0 is first, only 0 and 1 are among two.
    assert accuracy([0, 0, 0, 0], 1).engine_accuracy == 2 / 4
    assert accuracy([1, 1, 1, 1], 2).engine_accuracy == 3 / 4
    assert accuracy([2, 2, 2, 2], 2).engine_accuracy == 1 / 4
    assert accuracy([2, 2, 2, 2], 3).engine_accuracy == 3 / 4
    assert accuracy([0, 0, 0, 0], 1).changed == 2


@pytest.mark.parametrize("form", ["mapping", "list", "array", "wide"])
def test_forms_of_outputs(form):
    def engine(feed):
        scores = scores_for(feed["x"].astype(int) % CLASSES)
        made = {"mapping": {"other": feed["x"], "s": scores}, "list": [scores], "array": scores}
        return made.get(form, scores[:, :, None, None])

    labels = np.arange(40) % CLASSES
    output = "s" if form == "mapping" else None
    assert measure_accuracy(engine, engine, rows(40), labels, output=output).engine_accuracy == 1.0


def test_float32_through_onnxruntime():
    model = conv_relu()
    del model.graph.node[1]
    model.graph.node[0].output[0] = "y"
    data = feed((2, 3, 5, 5))
    assert run_plainly(model)(data)["y"].shape == (2, 4, 5, 5)
    with pytest.raises(InputError, match="a batch does not fit the model"):
        run_plainly(model)({"x": np.zeros((1, 2, 5, 5), np.float32)})


def test_batches_cover_the_arrays_once():
    cut = list(cut_batches({"x": np.arange(5), "y": np.arange(10).reshape(5, 2)}, 2))
    assert [len(one["x"]) for one in cut] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([one["y"] for one in cut]), np.arange(10).reshape(5, 2))


@pytest.mark.parametrize(
    "arguments", [({"x": np.zeros(3)}, 0), ({"x": np.zeros(3), "y": np.zeros(2)}, 1), ({}, 1)]
)
def test_batches_that_cannot_be_cut(arguments):
    with pytest.raises(InputError, match="cannot be cut in batches"):
        list(cut_batches(*arguments))


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ([0] * 9, {}, "9 labels, and more samples than that"),
        ([0] * 11, {}, "11 labels for 10 samples"),
        ([4] * 10, {}, "label 4 is no class: the model has 4 of them"),
        ([-1] * 10, {}, "should be a row of class numbers"),
        ([0.5] * 10, {}, "should be a row of class numbers"),
        (np.eye(10, dtype=int), {}, "should be a row of class numbers"),
        ([0] * 10, {"top": 0}, "top is 0"),
        ([0] * 10, {"output": "z"}, "the reference gives no output 'z'"),
    ],
)
def test_wrong_labels_and_options(labels, options, words):
    engine = run([0] * 10)
    with pytest.raises(InputError) as caught:
        measure_accuracy(engine, engine, rows(10, 10), labels, **options)
    assert words in caught.value.what


@pytest.mark.parametrize("shape", [(10,), (9, 4), (10, 1), (10, 4, 2)])
def test_scores_that_are_no_table(shape):
    with pytest.raises(InputError, match="and should give a row each"):
        measure_accuracy(lambda feed: [np.zeros(shape)], run([0] * 10), rows(10, 10), [0] * 10)


def test_reference_and_engine_with_other_classes():
    with pytest.raises(InputError, match="and the engine"):
        measure_accuracy(run([0] * 10), lambda feed: [np.zeros((10, 5))], rows(10, 10), [0] * 10)


def test_no_data():
    with pytest.raises(InputError) as caught:
        measure_accuracy(run([0]), run([0]), [], [])
    assert "nothing was compared" in str(caught.value)
