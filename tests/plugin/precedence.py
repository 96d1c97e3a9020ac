"""What every option has in common: command line beats environment beats ini beats default."""

from __future__ import annotations

from typing import Any

from pytest_trt.options import OPTIONS
from tests.plugin.conftest import Trt


def check_precedence(
    trt: Trt, flag: str, default: Any, values: tuple[tuple[str, Any], tuple[str, Any], tuple[str, Any]]
) -> None:
    """Give an option in the ini file, then the environment too, then on the command line too.

    `values` has, for ini file, environment and command line, the text and what it becomes in the settings.
    """
    option = next(option for option in OPTIONS if option.flag == flag)
    (ini, from_ini), (env, from_env), (cli, from_cli) = values
    assert trt.settings()[option.field] == default
    assert option.field not in trt.settings()["given"]
    trt.ini(f"{option.key} = {ini}\n")
    assert trt.settings()[option.field] == from_ini
    trt.monkeypatch.setenv(option.variable, env)
    assert trt.settings()[option.field] == from_env
    given = trt.settings(f"{flag}={cli}")
    assert given[option.field] == from_cli
    assert option.field in given["given"]
    assert trt.settings(flag, cli)[option.field] == from_cli
    trt.monkeypatch.setenv(option.variable, " ")  # an empty variable is none
    assert trt.settings()[option.field] == from_ini


def check_refusal(trt: Trt, flag: str, bad: str, *words: str) -> None:
    """Give a bad value in each of the three places; the error names the place, the value and all the words."""
    option = next(option for option in OPTIONS if option.flag == flag)
    for word in (flag, repr(bad), *words):
        assert word in trt.refusal(f"{flag}={bad}")
    trt.monkeypatch.setenv(option.variable, bad)
    for word in (option.variable, repr(bad), *words):
        assert word in trt.refusal()
    trt.monkeypatch.delenv(option.variable)
    trt.ini(f"{option.key} = {bad}\n")
    for word in (f"ini key {option.key} of tox.ini", repr(bad), *words):
        assert word in trt.refusal()
