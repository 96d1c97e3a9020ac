"""The page: well formed, self-contained, and nothing that a test is called becomes markup."""

from __future__ import annotations

import builtins
from html.parser import HTMLParser
from typing import Any

import pytest

from pytest_trt.errors import RuntimeMissingError
from pytest_trt.report import html
from pytest_trt.report.document import make_document
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.plain import to_text
from tests.unit.report.documents import NASTY, empty_document, facts, full_document, ran

pytest.importorskip("jinja2", reason='needs jinja2: pip install "pytest-trt[report]"')

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Text, tags and attributes of a page; a tag that is not closed in turn is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> inside of {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(html.render(full_document()))


def test_what_things_are_called_stays_text(page: Page) -> None:
    assert not {"script", "b", "i", "u", "v", "mine"} & set(page.tags)
    assert "<script>alert('&amp;')</script>|`x`\\x1b[31m" in page.text
    for word in (
        "<y>",
        "<off>",
        "<x>",
        "<rule>",
        "<differ>",
        "<w>",
        "<bias>",
        "<l>",
        "<held>",
        "<emu>",
        "<known>",
    ):
        assert word in page.text, word
    for word in (
        "<th>",
        "<td>",
        "<i>ratio</i>",
        "Layers <u>",
        "<line>",
        "<TensorRT>",
        "<mine>",
        "<none>",
        "<this>",
    ):
        assert word in page.text, word
    for word in ("E <words>", "long <text>\\x00", "<u>.py", "ImportError: <v>", "<long>"):
        assert word in page.text, word
    assert NASTY not in page.text, "control characters are shown, not written"


def test_the_page_loads_nothing(page: Page) -> None:
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#"), (tag, name, value)
    assert "@import" not in html.render(full_document()) and "url(http" not in html.render(full_document())


def test_ids_are_unique_and_links_lead_to_them() -> None:
    document = full_document()
    document["sections"] = document["sections"][:1] * 2
    page = Page(html.render(document))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and "summary" in ids
    targets = {value[1:] for _, name, value in page.attributes if name.endswith("href")}
    assert targets <= set(ids)


def test_the_summary_comes_first_and_the_support_map_behind_the_sections(page: Page) -> None:
    order = [
        "What was checked",
        "On what",
        "How strictly",
        "What was not",
        "Failures",
        "Sections",
        "Support map",
    ]
    text = page.text[page.text.index("pytest ended with") :]
    body = text[text.index("Tests") :]  # behind the links
    assert [body.index(word) for word in order] == sorted(body.index(word) for word in order)


def test_numbers_of_a_verdict_are_there(page: Page) -> None:
    words = " ".join(page.text.split())
    assert "9 elements judged, 3 of them to the bit" in words
    for word in ("3 of 9", "N=0, C=1", "0.1 to 0.2", "interval", "width: <w> 0.5", "data tiny big"):
        assert word in words, word


def test_the_same_document_gives_the_same_page() -> None:
    assert html.render(full_document()) == html.render(full_document(turned=True))


def test_an_empty_session_has_a_page() -> None:
    page = Page(html.render(empty_document()))
    assert "everything that was collected ran" in page.text
    assert "Failures" not in page.text and "Sections" not in page.text


def test_dark_light_and_print_are_styled() -> None:
    text = html.render(empty_document())
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_rows_behind_the_first_thousand_are_counted() -> None:
    ledger = Ledger()
    ledger.add("t", [("trt_section", to_text({"title": "t", "rows": [["r"]] * 1003}))])
    document = make_document(facts(), [], ledger, started="", seconds=0, exit_status=(0, "OK"))
    page = Page(html.render(document))
    assert "3 more rows in report.json" in page.text and page.text.splitlines().count("r") == 1000


def test_without_matplotlib_a_sentence_takes_the_place_of_a_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    _without("matplotlib", monkeypatch)
    page = Page(html.render(full_document()))
    assert "the plot '<i>ratio</i>' needs matplotlib: pip install \"pytest-trt[report]\"" in page.text
    assert "svg" not in page.tags


def test_without_jinja2_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _without("jinja2", monkeypatch)
    with pytest.raises(RuntimeMissingError, match="needs jinja2") as caught:
        html.render(empty_document())
    assert caught.value.mend == 'pip install "pytest-trt[report]"'


def test_each_of_a_thousand_tests_has_one_row() -> None:
    document = make_document(
        facts(),
        [ran(f"t.py::test_{n}", "passed") for n in range(1000)],
        Ledger(),
        started="",
        seconds=0,
        exit_status=(0, "OK"),
    )
    page = Page(html.render(document))
    assert page.text.count("t.py::test_") == 1000 and "svg" not in page.tags


def _without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *args: Any, **more: Any) -> Any:
        if name.split(".")[0] == module:
            raise ImportError(f"No module named {module!r}")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", fail)
