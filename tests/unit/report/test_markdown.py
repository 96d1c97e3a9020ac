"""The short report: nothing that a test is called becomes markup."""

from __future__ import annotations

import pytest

from pytest_trt.report import markdown
from pytest_trt.report.document import make_document
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.plain import to_text
from tests.unit.report.documents import empty_document, facts, full_document, ran


def test_all_parts_are_there() -> None:
    text = markdown.render(full_document())
    for line in (
        "**Failed: 2 of 5 tests**",
        "### What was checked",
        "### On what",
        "### How strictly",
        "### What was not",
        "- problem: nothing of &lt;this&gt; matches",
        "### Failures",
        "  `pytest -k '<x>'`",
        "- `t.py::test_e` error: E &lt;words&gt;",
        "### Layers &lt;u&gt;",
        "| &lt;td&gt; | 1.5 |",
        "| t.py::test\\_a | int8 | 1 | conforms | 1,000 | > 99 % |".replace(">", "&gt;"),
    ):
        assert line in text.splitlines(), line


def test_without_code_spans_no_angle_bracket_is_left() -> None:
    import re

    text = re.sub(r"(`+).*?\1", "", markdown.render(full_document()))
    assert "<" not in text


def test_an_empty_session() -> None:
    text = markdown.render(empty_document())
    assert "Failures" not in text and "What was not" not in text and text.endswith("|\n")


def test_only_the_first_failures_and_rows() -> None:
    trouble = {"when": "call", "words": "E", "text": "E"}
    ledger = Ledger()
    ledger.add(
        "a", [("trt_section", to_text({"title": "t", "head": ["n"], "rows": [[n] for n in range(12)]}))]
    )
    document = make_document(
        facts(),
        [ran(f"test_{n:02}", "failed", troubles=[trouble]) for n in range(25)],
        ledger,
        started="",
        seconds=0,
        exit_status=(1, "TESTS_FAILED"),
    )
    text = markdown.render(document)
    assert "test_19`" in text and "test_20`" not in text and "- ... 5 more in the report" in text
    assert "| 9 |" in text and "| 10 |" not in text and "... 2 more rows in the report" in text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a|b", "a\\|b"),
        ("x_y *z* [k](l) `c`", "x\\_y \\*z\\* \\[k\\](l) \\`c\\`"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("a\n\n# b", "a # b"),
        ("# b", "\\# b"),
        ("1. b", "1\\. b"),
        ("- b", "\\- b"),
        ("---", "\\---"),
        ("-1.5", "-1.5"),
        ("0.5", "0.5"),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert markdown.quote(text) == quoted


@pytest.mark.parametrize(
    ("text", "span"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("``a`", "``` ``a` ```"), ("a\nb", "`a b`")]
)
def test_code(text: str, span: str) -> None:
    assert markdown.code(text) == span
