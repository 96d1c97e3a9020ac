"""Faults that the suites need not catch, each with the reason why what it does is allowed or cannot be seen."""

from __future__ import annotations

EXCUSED: dict[str, str] = {}
