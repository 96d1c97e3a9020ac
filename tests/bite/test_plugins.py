"""Plugins: each fault of their life is caught by its own check alone, and honest ones pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.check import plugins, plugins_apart
from pytest_trt.check.plugins import FIELDS, check_plugins
from pytest_trt.emulator import faults
from pytest_trt.emulator.faults import plugins as shipped
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.plugin_lives import Fields
from pytest_trt.runtime.plugins import KINDS, Counting

PREFIX = "pytest_trt.emulator.faults:"
VERSIONS = ("tensorrt-10.0", "tensorrt-10.13", "tensorrt-10.16", "tensorrt-11.4")

# What each fault trips; a fault with one name is the subject that this check and no other catches.
CAUGHT = {
    "plugin_clone_leaked_per_context": {plugins.LIVE},
    "plugin_shared_by_contexts": {plugins.CLONES, plugins.OWN},
    "plugin_not_cloned_for_the_first_context": {plugins.CLONES},
    "plugin_runs_on_the_clone_of_another_context": {plugins.OWN},
    "plugin_field_lost": {plugins.SURVIVE},
    "plugin_field_changed": {plugins.SURVIVE, plugins.OUTPUT},
    "plugin_called_after_destroy": {plugins.AFTER},
    "plugin_terminated_twice": {plugins.ENDS},
    "plugin_destroyed_twice": {plugins.ENDS},
    "plugin_of_another_version_accepted": {plugins.UNKNOWN},
    "zeros_returned": {plugins.OUTPUT},
}
# V3 plugins have no `terminate`.
ONLY_V2 = {"plugin_terminated_twice"}


def runtime(*names, plays="tensorrt-10.13"):
    made = Settings(
        runtime="emulator", gpu="t4", emulate=plays, faults=tuple(PREFIX + name for name in names)
    )
    return discover(made).executor


def tripped(rows):
    return {name for name, note in rows if note is not None}


def test_every_fault_has_a_row():
    here = {name for name, entry in faults.FAULTS.items() if entry.call.__module__ == shipped.__name__}
    assert here == CAUGHT.keys() - {"zeros_returned"}
    alone = {next(iter(checks)) for checks in CAUGHT.values() if len(checks) == 1}
    names = (plugins.LIVE, plugins.CLONES, plugins.SURVIVE, plugins.AFTER, plugins.ENDS, plugins.OWN)
    assert alone == {*names, plugins.UNKNOWN, plugins.OUTPUT}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CAUGHT)
def test_a_fault_is_caught_by_its_checks_alone(name, kind):
    want = set() if kind == "V3" and name in ONLY_V2 else CAUGHT[name]
    assert tripped(check_plugins(runtime(name), kind, "parsed")) == want


@pytest.mark.parametrize("route", plugins.ROUTES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plays", VERSIONS)
def test_an_honest_engine_passes(plays, kind, route):
    rows = check_plugins(runtime(plays=plays), kind, route)
    assert tripped(rows) == set()
    assert {name for name, _ in rows} >= {plugins.LIVE, plugins.CLONES, plugins.SURVIVE, plugins.UNKNOWN}


def planted(monkeypatch, change):
    """Let every counting plugin that is made be changed."""
    real = Counting.__init__

    def init(self, rt, kind, **options):
        real(self, rt, kind, **options)
        change(self)

    monkeypatch.setattr(Counting, "__init__", init)


def forgetful_clone(counting):
    make = counting._plugin
    counting._plugin.clone = lambda self: make(Fields(label=self.fields.label), 0, "clone")


def forgetful_creator(counting):
    """The creator gives a plugin without its text."""
    kind, creator = type(counting.creator), counting.creator
    name = "create_plugin" if counting.kind == "V3" else "deserialize_plugin"
    real = getattr(kind, name)

    def make(self, *args, **options):
        args = args + (None,) * (real.__code__.co_argcount - 1 - len(args))
        plugin = real(self, *args)
        plugin.fields = Fields(plugin.fields.scale, plugin.fields.shift)
        return plugin

    # Same arity: only what comes out differs.
    setattr(
        kind,
        name,
        (lambda self, a, b, c: make(self, a, b, c))
        if counting.kind == "V3"
        else (lambda self, a, b: make(self, a, b)),
    )
    assert creator is counting.creator


def enqueue_of_five(counting):
    counting._plugin.enqueue = lambda self, a, b, c, d, e: None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "check"),
    [
        (forgetful_clone, plugins_apart.CLONE_KEEPS),
        (forgetful_creator, plugins_apart.ROUND_TRIP),
        (enqueue_of_five, plugins_apart.OVERRIDES),
    ],
)
def test_a_plugin_that_is_wrong_apart_from_an_engine_is_caught(monkeypatch, kind, change, check):
    assert tripped(plugins_apart.check_apart(runtime(), kind)) == set()
    planted(monkeypatch, change)
    assert tripped(plugins_apart.check_apart(runtime(), kind)) == {check}


@pytest.mark.parametrize("kind", KINDS)
def test_a_registry_that_keeps_what_was_taken_out_is_caught(monkeypatch, kind):
    rt = runtime()
    registry = rt.trt.get_plugin_registry()
    monkeypatch.setattr(type(registry), "deregister_creator", lambda self, creator: True)
    assert tripped(plugins_apart.check_apart(rt, kind)) == {plugins_apart.REGISTRY}


def test_an_override_that_is_missing_is_told():
    plugin = Counting(runtime(), "V3").make(FIELDS)
    assert plugins_apart.lacking(plugin, "enqueue", 6) is None
    assert "is not overridden" in plugins_apart.lacking(SimpleNamespace(), "enqueue", 6)
    assert "does not take 7" in plugins_apart.lacking(plugin, "enqueue", 7)
