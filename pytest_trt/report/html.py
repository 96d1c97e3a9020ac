"""The report as one HTML page that needs nothing else: style and plots lie in it, and no script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from pytest_trt.errors import RuntimeMissingError
from pytest_trt.report.facts import PLAYED
from pytest_trt.report.outcomes import BAD
from pytest_trt.report.plots import draw
from pytest_trt.report.words import (
    count,
    describe_checks,
    headline,
    list_facts,
    list_not_run,
    place,
    support_table,
)

ROWS = 1000  # of one table of a section; all of them are in the JSON


def need_jinja2() -> None:
    """Check that the page can be written.

    Raises
    ------
    RuntimeMissingError
        jinja2 is not installed, or does not load.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise RuntimeMissingError(
            "--trt-report needs jinja2", why=f"ImportError: {error}", mend='pip install "pytest-trt[report]"'
        ) from None


def render(document: Mapping[str, Any]) -> str:
    """Return a report as HTML; the same document gives the same text.

    Raises
    ------
    RuntimeMissingError
        As `need_jinja2`.
    """
    need_jinja2()
    import jinja2
    from markupsafe import Markup

    drawn = []
    for number, section in enumerate(document["sections"], start=1):
        svg, note = draw(section["plot"], number) if section["plot"] else ("", "")
        drawn.append({"svg": Markup(svg), "note": note})  # matplotlib's own text, which it escapes
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(visible=visible, plural=count, place=place)
    text: str = environment.get_template("index.html").render(
        bad=[test for test in document["tests"] if test["outcome"] in BAD],
        checks=describe_checks(document),
        document=document,
        drawn=drawn,
        facts=list_facts(document),
        headline=headline(document),
        not_run=list_not_run(document),
        played=PLAYED,
        rows=ROWS,
        style=Markup(_read("style.css")),
        support=support_table(document),
    )
    return text


def visible(text: object) -> str:
    """Return text whose control characters can be seen; HTML allows none but tab and line ends."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", str(text))


def _read(name: str) -> str:
    return (resources.files("pytest_trt.report") / "templates" / name).read_text(encoding="utf-8")
