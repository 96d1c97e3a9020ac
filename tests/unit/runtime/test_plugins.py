"""The counting plugin: its fields, its ledger, and that every version's bindings would find its overrides."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from pytest_trt.check.plugins_apart import CREATOR, LOOKED_UP, arity, lacking
from pytest_trt.emulator import known, surfaces
from pytest_trt.records import Missing, Settings
from pytest_trt.runtime import modules
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.plugin_lives import Arrays, Fields, Ledger, from_bytes, from_collection, to_bytes
from pytest_trt.runtime.plugins import KINDS, Counting

FIELDS = Fields(-0.25, -7, "a text")
VERSIONS = [f"{product}-{version}" for product, version in known() if not version.startswith("8.")]
BASES = {"V3": ("IPluginV3", "IPluginV3OneBuild", "IPluginV3OneRuntime"), "V2": ("IPluginV2DynamicExt",)}
# The surfaces of 10.0 to 10.2 spell it so.
SPELLED = {"get_output_datatypes": "get_output_data_types"}
# Called where it is overridden, and no override is asked for.
OPTIONAL = {"destroy": 0}


def runtime(plays="tensorrt-10.13"):
    return discover(Settings(runtime="emulator", gpu="t4", emulate=plays)).executor


def test_fields_survive_both_forms():
    trt = runtime().trt
    assert from_bytes(to_bytes(FIELDS)) == FIELDS
    held = Arrays(trt, FIELDS)
    assert from_collection(held.collect()) == FIELDS
    assert from_collection(Arrays(trt, Fields()).collect()) == Fields()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plays", VERSIONS)
def test_every_method_of_a_surface_is_overridden_with_its_arity(plays, kind):
    """What a base shows is what TensorRT looks up, so the table of it agrees with the surface of each version."""
    product, _, version = plays.partition("-")
    surface = surfaces.read(product, version)
    counting = Counting(runtime(plays), kind)
    plugin = counting.make(FIELDS)
    shown = {}
    for base in BASES[kind]:
        for name, signatures in surface.classes[base].methods.items():
            if not name.startswith("__"):
                shown[SPELLED.get(name, name)] = arity(signatures[0])
    assert shown == LOOKED_UP[kind] | OPTIONAL
    for name, count in shown.items():
        assert lacking(plugin, name, count) is None
    creator = "IPluginCreatorV3One" if kind == "V3" else "IPluginCreator"
    methods = {
        name: arity(s[0]) for name, s in surface.classes[creator].methods.items() if not name.startswith("__")
    }
    assert methods == CREATOR[kind]


def test_a_ledger_tells_calls_after_the_end():
    class Thing:
        pass

    ledger, thing = Ledger(), Thing()
    life = ledger.begin(thing, 0, "made", FIELDS)
    for call in (
        "initialize",
        "terminate",
        "clone",
        "initialize",
        "enqueue",
        "terminate",
        "enqueue",
        "destroy",
        "clone",
        "destroy",
    ):
        ledger.note(life, call)
    assert life.after_end == ["enqueue", "clone"]
    assert (life.count("destroy"), life.alive, ledger.live) == (2, True, [life])
    del thing
    gc.collect()
    assert not life.alive and ledger.live == []


def test_a_ledger_counts_in_several_threads():
    class Thing:
        pass

    ledger, things = Ledger(), []

    def work():
        for _ in range(200):
            thing = Thing()
            things.append(thing)
            ledger.note(ledger.begin(thing, 0, "made", FIELDS), "enqueue")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(life.serial for life in ledger.lives) == list(range(1, 801))
    assert len(ledger.live) == len(things) == 800


@pytest.mark.parametrize("kind", KINDS)
def test_the_bindings_of_the_real_tensorrt_rtx_take_the_plugin(kind):
    """The parts that need no engine, on the real bindings; in a process of its own, since a wrong pointer would end it."""
    if isinstance(modules.find("tensorrt_rtx"), Missing):
        pytest.skip("TensorRT-RTX is not installed: pip install pytest-trt[rtx]")
    code = (
        "import sys\n"
        "from pytest_trt.check.plugins_apart import check_apart\n"
        "from pytest_trt.records import Settings\n"
        "from pytest_trt.runtime.load import discover\n"
        "rt = discover(Settings(runtime='emulator', gpu='l4')).builder\n"
        "rows = list(check_apart(rt, sys.argv[1]))\n"
        "print(len(rows), [row for row in rows if row[1] is not None])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, kind], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    count, _, wrong = done.stdout.strip().partition(" ")
    assert int(count) > 10 and wrong == "[]"
