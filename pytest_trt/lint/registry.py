"""The rules of the lint, each a function that is registered where it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.view import View

Check = Callable[[View], Iterator[Advice]]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    name : str
        Its stable name.
    doc : str
        What it looks for, one line.
    check : callable
        View to the advice.
    precisions : tuple of str
        The rule speaks only where one of these is wanted; empty: always.
    """

    name: str
    doc: str
    check: Check
    precisions: tuple[str, ...] = ()


RULES: dict[str, Rule] = {}


def rule(name: str, *precisions: str) -> Callable[[Check], Check]:
    """Return a decorator that registers a function as the rule of that name."""

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"two rules are named {name!r}")
        RULES[name] = Rule(name, (check.__doc__ or "").strip().splitlines()[0], check, precisions)
        return check

    return register
