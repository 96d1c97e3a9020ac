"""`--trt-golden`, `--trt-golden-dir`, `--trt-golden-from`: what is checked or written, where, and against what."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence


def test_precedence_of_the_mode(trt: Trt) -> None:
    values = (("record", "record"), ("off", "off"), ("update=changed", "update=changed"))
    check_precedence(trt, "--trt-golden", "check", values)


def test_precedence_of_the_store(trt: Trt) -> None:
    here = str(trt.pytester.path)
    values = (("g", f"{here}/g"), ("/var/golden.zip", "/var/golden.zip"), ("s3://bucket/a", "s3://bucket/a"))
    check_precedence(trt, "--trt-golden-dir", None, values)


def test_precedence_of_the_other_version(trt: Trt) -> None:
    values = (
        ("tensorrt-10.13", "tensorrt-10.13"),
        ("tensorrt_rtx-1.6.1.120", "tensorrt_rtx-1.6.1.120"),
        ("emulator+tensorrt-8.6.1+ort-1.32+cpu-0a", "emulator+tensorrt-8.6.1+ort-1.32+cpu-0a"),
    )
    check_precedence(trt, "--trt-golden-from", None, values)


def test_an_unknown_mode(trt: Trt) -> None:
    text = trt.refusal("--trt-golden=update")
    assert "--trt-golden: 'update' is unknown" in text
    assert "good values: check, record, off, update=new, update=changed, update=all" in text


@pytest.mark.parametrize("word", ["10.13", "tensorrt", "tensorrt-", "trt-10", "emulator-10.13", "../a-1"])
def test_what_is_no_product_and_version(trt: Trt, word: str) -> None:
    text = trt.refusal(f"--trt-golden-from={word}")
    assert f"{word!r} is no product and version" in text and "golden list" in text


def test_an_empty_folder(trt: Trt) -> None:
    assert "is empty" in trt.refusal("--trt-golden-dir=")


@pytest.mark.parametrize("mode", ["record", "update=new", "update=all"])
def test_goldens_of_another_version_are_not_written(trt: Trt, mode: str) -> None:
    text = trt.refusal("--trt-golden-from=tensorrt-10.13", f"--trt-golden={mode}")
    assert f"--trt-golden-from does not work with --trt-golden={mode}" in text


def test_check_and_another_version(trt: Trt) -> None:
    settings = trt.settings("--trt-golden-from=tensorrt-10.13", "--trt-golden=check")
    assert (settings["golden"], settings["golden_from"]) == ("check", "tensorrt-10.13")
