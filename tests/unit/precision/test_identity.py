"""What a table was made from: each of the three parts is named when it changed."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from pytest_trt.errors import CalibrationError
from pytest_trt.precision.digests import digest_feeds
from pytest_trt.precision.identity import (
    DigestedBatches,
    check_identity,
    digest_preprocessing,
    identify,
    identity_path,
    write_identity,
)

BATCHES = [{"x": np.arange(4, dtype=np.float32)}, {"x": np.ones(4, np.float32)}]


def halve(x):
    return x / 2


def double(x):
    return x * 2


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "net.cache"
    path.write_bytes(b"TRT-8601-MinMaxCalibration\nx: 3c010204\n")
    return path


def test_a_table_of_the_same_things_is_accepted(table):
    written = write_identity(table, identify(b"model", halve, BATCHES))
    assert written == identity_path(table) == table.with_name("net.cache.identity.json")
    check_identity(table, identify(b"model", halve, iter(BATCHES)))
    assert sorted(path.name for path in table.parent.iterdir()) == ["net.cache", "net.cache.identity.json"]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (lambda: identify(b"other", halve, BATCHES), "model changed"),
        (lambda: identify(b"model", double, BATCHES), "preprocessing changed"),
        (lambda: identify(b"model", halve, BATCHES[:1]), "data changed"),
        (lambda: identify(b"other", double, BATCHES), "model and preprocessing changed"),
    ],
)
def test_what_changed_is_named(table, now, what):
    write_identity(table, identify(b"model", halve, BATCHES))
    with pytest.raises(CalibrationError) as caught:
        check_identity(table, now())
    assert caught.value.what == f"{table} is stale: {what} since it was calibrated"
    assert len(caught.value.why) == what.count(" and ") + 1 and "calibrate again" in caught.value.mend


def test_another_table_under_the_same_name_is_refused(table):
    write_identity(table, identify(b"model", "v1", BATCHES))
    table.write_bytes(b"TRT-8601-MinMaxCalibration\nx: 3c010205\n")
    with pytest.raises(
        CalibrationError, match=r"is not the table that net\.cache\.identity\.json was written"
    ):
        check_identity(table, identify(b"model", "v1", BATCHES))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "nothing says what the table was made from"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no identity"),
        ('{"schema": 99}', "is no identity"),
    ],
)
def test_an_identity_that_cannot_be_read_is_refused(table, text, words):
    if text is not None:
        identity_path(table).write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match=words) as caught:
        check_identity(table, identify(b"model", "v1", BATCHES))
    assert caught.value.mend == "calibrate again, and keep the two files together"


def test_a_table_that_is_not_there_has_no_identity(tmp_path):
    with pytest.raises(CalibrationError, match="cannot be read"):
        write_identity(tmp_path / "none.cache", identify(b"m", None, BATCHES))


def test_the_file_holds_digests_alone(table):
    write_identity(table, identify(b"model", "v1", BATCHES))
    facts = json.loads(identity_path(table).read_text(encoding="utf-8"))
    assert sorted(facts) == ["data", "model", "preprocessing", "schema", "table"]
    assert all(len(facts[name]) == 64 for name in facts if name != "schema")


@pytest.mark.parametrize(
    "other",
    [
        BATCHES[::-1],
        BATCHES[:1],
        [{"y": batch["x"]} for batch in BATCHES],
        [{"x": batch["x"].reshape(2, 2)} for batch in BATCHES],
        [{"x": batch["x"].view(np.int32)} for batch in BATCHES],
        [{"x": np.nextafter(batch["x"], np.float32(9))} for batch in BATCHES],
    ],
)
def test_data_differ_by_order_names_shapes_types_and_bits(other):
    assert digest_feeds(other) != digest_feeds(BATCHES)


def test_data_that_come_once_are_digested_as_they_pass():
    passing = DigestedBatches(batch for batch in BATCHES)
    assert [batch["x"].tolist() for batch in passing] == [batch["x"].tolist() for batch in BATCHES]
    assert passing.digest == digest_feeds(BATCHES)
    again = DigestedBatches(BATCHES)
    assert len(again) == 2 and list(again) and list(again) and again.digest == passing.digest
    with pytest.raises(TypeError):
        len(passing)


def test_preprocessing_is_known_by_its_source_or_a_text():
    @functools.wraps(halve)
    def wrapped(x):
        return halve(x)

    assert digest_preprocessing(wrapped) == digest_preprocessing(halve) != digest_preprocessing(double)
    assert digest_preprocessing("imagenet, v2") != digest_preprocessing("imagenet, v1")
    assert digest_preprocessing(None) == digest_preprocessing("")
    with pytest.raises(CalibrationError, match="cannot be read") as caught:
        digest_preprocessing(np.add)
    assert caught.value.mend == "give a text that names the preprocessing and its version"
