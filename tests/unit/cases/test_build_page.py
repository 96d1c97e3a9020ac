"""The page of tools/build_map.py: what differs between compute capabilities is named, what is alike shares a line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "tools" / "build_page.py"
FACTS = {"python": "3.11.7", "system": "Linux x86_64"}
NETWORK = {
    "network": "net",
    "asked": "int8",
    "outcome": "builds",
    "words": "",
    "ran": {"int8": 3},
    "types": {"fp32": 1, "int8": 4},
    "layers": 5,
    "reformats": 1,
}


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("build_page", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part(sm, *rows, networks=(), contradictions=()):
    return {
        "product": "tensorrt_rtx",
        "version": "1.7.1.116",
        "sm": sm,
        "builds": len(rows),
        "rows": [list(row) for row in rows],
        "networks": list(networks),
        "contradictions": list(contradictions),
    }


def rows_of(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_facts_are_told(page):
    text = page.render([part(75, ("Pools", "max", "fp32", "builds", ""))], FACTS)
    for words in ("TensorRT-RTX 1.7.1.116", "Python 3.11.7", "nothing here was executed", "1 builds", "SM75"):
        assert words in text


def test_what_most_do_comes_first_and_the_rest_is_named(page):
    row = ("Convolutions", "2-D", "int8")
    parts = [part(75, (*row, "fp32", "")), part(80, (*row, "builds", "")), part(86, (*row, "builds", ""))]
    assert "| 2-D | yes; SM75: fp32 |" in rows_of(page.render(parts, FACTS))


def test_refusals_have_their_words_below(page):
    row = ("Matrix products", "Gemm", "fp32")
    parts = [part(75, (*row, "refused in words", "no | kernel")), part(80, (*row, "builds", ""))]
    lines = rows_of(page.render(parts, FACTS))
    assert "| Gemm | no (a); SM80: yes |" in lines
    assert "| a | no \\| kernel |" in lines


def test_rows_that_are_alike_share_a_line(page):
    rows = [("Pools", name, "fp32", "builds", "") for name in ("max", "average")]
    other = ("Pools", "global", "fp32", "fp16", "")
    lines = rows_of(page.render([part(80, *rows, other)], FACTS))
    assert "| max; average | yes |" in lines and "| global | fp16 |" in lines


def test_networks_with_the_same_numbers_share_a_line(page):
    row = ("Pools", "max", "fp32", "builds", "")
    first, second = ({**NETWORK, "bytes": size, "seconds": 0.5} for size in (2048, 4096))
    refused = {"network": "net", "asked": "fp32", "outcome": "refused in words", "words": "no"}
    parts = [
        part(75, row, networks=[refused]),
        part(80, row, networks=[first]),
        part(86, row, networks=[second]),
    ]
    lines = rows_of(page.render(parts, FACTS))
    assert "| net | int8 | 80, 86 | 3 int8 | 1 fp32, 4 int8 | 1 | 2 to 4 | 0.5 |" in lines
    assert any(line.startswith("| net | fp32 | 75 | no (a) |") for line in lines)


def test_contradictions_of_the_table_are_named(page):
    parts = [part(80, ("Pools", "max", "fp32", "builds", ""), contradictions=["SM80 max: it built"])]
    assert "- SM80 max: it built" in page.render(parts, FACTS)
