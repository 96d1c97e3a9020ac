"""Python plugins of the emulator: the order of the calls, the registry, the parser, and what a failing plugin makes fail."""

from __future__ import annotations

import gc
import re

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.check.plugins import FIELDS, PROFILE, build_counted, parsed_model
from pytest_trt.errors import ExecutionError, NotEmulated, UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import build_plan
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.plugin_lives import Fields
from pytest_trt.runtime.plugins import KINDS, NAME, NAMESPACE, Counting, build_added, offers_plugins
from pytest_trt.runtime.request import BuildRequest
from pytest_trt.runtime.session import Session, load_engine

X = np.arange(16, dtype=np.float32).reshape(2, 8)
ENDED = ["destroy", "gone"]
BUILT = {
    "V3": [
        ["clone", *ENDED],
        ["get_output_data_types", "get_output_shapes", "clone", *ENDED],
        ["configure_plugin", "get_fields_to_serialize", *ENDED],
    ],
    "V2": [
        ["clone", *ENDED],
        ["get_output_datatype", "get_output_dimensions", "clone", *ENDED],
        ["configure_plugin", "initialize", "serialize", "terminate", *ENDED],
    ],
}
RAN = {
    "V3": [
        ["attach_to_context", *ENDED],
        [
            "set_tactic",
            "on_shape_change",
            "enqueue",
            "enqueue",
            "set_tactic",
            "on_shape_change",
            "enqueue",
            *ENDED,
        ],
    ],
    "V2": [
        ["initialize", "clone", "terminate", *ENDED],
        ["configure_plugin", "enqueue", "enqueue", "configure_plugin", "enqueue", *ENDED],
    ],
}


def runtime(plays="tensorrt-10.13"):
    return discover(Settings(runtime="emulator", gpu="t4", emulate=plays)).executor


def plan_of(rt, model, **options):
    options = {"strongly_typed": rt.features.strong_typing, "profile": PROFILE, "detailed": False} | options
    return build_plan(rt, BuildRequest(model=model.SerializeToString(), **options))


@pytest.mark.parametrize("plays", ["tensorrt-10.0", "tensorrt-11.4"])
@pytest.mark.parametrize("kind", KINDS)
def test_calls_come_in_the_documented_order(kind, plays):
    rt = runtime(plays)
    counting = Counting(rt, kind)
    with counting.registered():
        plan = build_counted(rt, counting, "parsed", FIELDS)
        gc.collect()
        assert [life.calls for life in counting.ledger.lives] == BUILT[kind]
        session = Session(rt, plan)
        for rows in (2, 2, 1):
            session.run({"x": X[:rows]})
        session.close()
        del session
        gc.collect()
    assert [life.calls for life in counting.ledger.lives[3:]] == RAN[kind]
    assert [life.origin for life in counting.ledger.lives[3:]] == [
        "runtime",
        "attach" if kind == "V3" else "clone",
    ]


def test_the_layer_is_told_as_a_plugin():
    rt = runtime()
    for kind in KINDS:
        counting = Counting(rt, kind)
        with counting.registered():
            plan = plan_of(rt, parsed_model(FIELDS), detailed=True)
            layers = {layer.name: layer.kind for layer in plan.layers}
        assert layers["counting"] == f"Plugin{kind}"


def test_nodes_without_a_creator_are_refused():
    rt = runtime()
    with pytest.raises(UnsupportedError, match="Plugin not found"):
        plan_of(rt, parsed_model(FIELDS))
    with Counting(rt, "V3").registered(), pytest.raises(UnsupportedError, match="Plugin not found"):
        plan_of(rt, parsed_model(FIELDS, version="2"))


@pytest.mark.parametrize("plays", ["tensorrt-8.6.1", "tensorrt_rtx-1.7"])
def test_versions_without_python_plugins_take_none(plays):
    rt = runtime(plays)
    assert not any(offers_plugins(rt, kind) for kind in KINDS)
    if plays == "tensorrt-8.6.1":
        with pytest.raises(UnsupportedError, match="has no Python plugins"):
            Counting(rt, "V3")
    else:
        with Counting(rt, "V3").registered(), pytest.raises(UnsupportedError, match="Plugin not found"):
            plan_of(rt, parsed_model(FIELDS))


def test_a_creator_is_registered_once():
    rt = runtime()
    with Counting(rt, "V3").registered() as counting:
        registry = rt.trt.get_plugin_registry()
        assert registry.all_creators == [counting.creator] and registry.plugin_creator_list == []
        with pytest.raises(UnsupportedError, match="did not register"), counting.registered():
            pass
    assert registry.get_creator(NAME, "1", NAMESPACE) is None
    assert registry.all_creators_recursive == [] and not registry.deregister_creator(counting.creator)
    with Counting(rt, "V2").registered() as older:
        assert registry.plugin_creator_list == [older.creator]
        assert registry.get_plugin_creator(NAME, "1", NAMESPACE) is older.creator


def test_resources_are_shared_until_the_last_one_gives_them_back():
    trt = runtime().trt
    said = []

    class Resource(trt.IPluginResource):
        def clone(self):
            said.append("clone")
            return Resource()

        def release(self):
            said.append("release")

    registry, own = trt.get_plugin_registry(), Resource()
    first, second = (registry.acquire_plugin_resource("key", own) for _ in range(2))
    assert first is second and first is not own
    assert [registry.release_plugin_resource("key") for _ in range(3)] == [0, 0, -1]
    assert said == ["clone", "release"]


def test_every_base_has_to_be_initialised():
    trt = runtime().trt

    class Half(trt.IPluginV3, trt.IPluginV3OneCore):
        def __init__(self):
            trt.IPluginV3.__init__(self)

    with pytest.raises(TypeError, match="must be called when overriding __init__"):
        Half()


FAILING = {
    "V3": [
        "create_plugin",
        "clone",
        "get_output_shapes",
        "supports_format_combination",
        "get_fields_to_serialize",
    ],
    "V2": ["create_plugin", "clone", "get_output_dimensions", "configure_plugin", "initialize", "serialize"],
}


def broken(*args):
    raise ZeroDivisionError("planted")


@pytest.mark.parametrize(("kind", "method"), [(kind, name) for kind in KINDS for name in FAILING[kind]])
def test_a_callback_that_raises_fails_the_build(kind, method, capsys):
    rt = runtime()
    counting = Counting(rt, kind)
    setattr(type(counting.creator) if method == "create_plugin" else counting._plugin, method, broken)
    with counting.registered(), pytest.raises(UnsupportedError, match=rf"{method}\(\) of the plugin raised"):
        build_counted(rt, counting, "parsed", FIELDS)
    assert "planted" in capsys.readouterr().err
    gc.collect()
    assert counting.ledger.live == []


def test_a_format_that_no_plugin_takes_fails_the_build():
    rt = runtime()
    counting = Counting(rt, "V3")
    counting._plugin.supports_format_combination = lambda *args: False
    with counting.registered(), pytest.raises(UnsupportedError, match="could not find any supported formats"):
        build_counted(rt, counting, "parsed", FIELDS)


@pytest.mark.parametrize(
    ("kind", "method", "words"),
    [
        ("V3", "enqueue", r"enqueue\(\) of the plugin raised"),
        ("V3", "on_shape_change", r"on_shape_change\(\) of the plugin raised"),
        ("V3", "attach_to_context", "made no execution context"),
        ("V2", "enqueue", r"enqueue\(\) of the plugin raised"),
        ("V2", "clone", "made no execution context"),
    ],
)
def test_a_callback_that_raises_fails_what_it_came_from(kind, method, words, capsys):
    rt = runtime()
    counting = Counting(rt, kind)
    with counting.registered():
        plan = build_counted(rt, counting, "parsed", FIELDS)
        setattr(counting._plugin, method, broken)
        with pytest.raises(ExecutionError) as caught:
            Session(rt, plan).run({"x": X})
    assert re.search(words, f"{caught.value.what} {caught.value.why}")
    capsys.readouterr()
    del caught
    gc.collect()
    assert counting.ledger.live == []


@pytest.mark.parametrize(("kind", "method"), [("V3", "attach_to_context"), ("V2", "clone")])
def test_a_context_that_never_was_releases_the_plugins_that_it_had(kind, method, capsys):
    rt = runtime()
    counting = Counting(rt, kind)
    model = parsed_model(FIELDS)
    model.graph.node[2].CopyFrom(model.graph.node[1])
    second = model.graph.node[2]
    second.name, second.input[0], second.output[0] = "second", "p", "y"
    with counting.registered():
        engine = load_engine(rt, plan_of(rt, model).data)
        gc.collect()
        before, attach = len(counting.ledger.lives), getattr(counting._plugin, method)
        setattr(
            counting._plugin,
            method,
            lambda self, *args: attach(self, *args) if len(counting.ledger.lives) == before else broken(),
        )
        with pytest.raises(ExecutionError, match="made no execution context"):
            Session(rt, engine)
    assert "planted" in capsys.readouterr().err
    (life,) = counting.ledger.lives[before:]
    assert "destroy" in life.calls


def test_an_engine_serialises_its_plugins_again():
    rt = runtime()
    for kind in KINDS:
        counting = Counting(rt, kind)
        with counting.registered():
            engine = load_engine(rt, build_counted(rt, counting, "parsed", FIELDS))
            again = Session(rt, bytes(engine.serialize()))
            assert np.array_equal(again.run({"x": X})["y"], -(X / 2 + 3))
            again.close()


def scaled(trt, counting):
    """Let the plugin give one more column than it takes, twice over."""

    def shapes(self, inputs, shape_inputs, builder):
        operation = trt.DimensionOperation
        one = builder.constant(1)
        double = builder.operation(operation.PROD, inputs[0][0], builder.constant(2))
        return [trt.DimsExprs([double, builder.operation(operation.SUM, inputs[0][1], one)])]

    counting._plugin.get_output_shapes = shapes


def test_shapes_are_expressions_of_the_inputs(monkeypatch):
    from pytest_trt.runtime import plugins

    rt = runtime()
    counting = Counting(rt, "V3")
    scaled(rt.trt, counting)
    monkeypatch.setattr(
        plugins,
        "_compute",
        lambda rt, plugin, desc, inputs, outputs: plugins._write(rt, outputs[0], np.ones((4, 9), np.float32)),
    )
    with counting.registered():
        plan = build_counted(rt, counting, "parsed", FIELDS)
        session = Session(rt, plan)
        assert np.array_equal(session.run({"x": X})["y"], -np.ones((4, 9), np.float32))
        session.close()


def test_what_a_plugin_leaves_unwritten_shows(monkeypatch):
    from pytest_trt.runtime import plugins

    rt = runtime()
    monkeypatch.setattr(plugins, "_compute", lambda *args: None)
    counting = Counting(rt, "V2")
    with counting.registered():
        session = Session(rt, build_counted(rt, counting, "added", FIELDS))
        assert np.isnan(session.run({"x": X})["y"]).all()
        session.close()


def test_under_a_weak_flag_a_plugin_keeps_the_types_of_the_network():
    rt = runtime()
    counting = Counting(rt, "V3")
    with counting.registered():
        plan = plan_of(rt, parsed_model(Fields(1.0, 0)), strongly_typed=False, flags=frozenset({"FP16"}))
        session = Session(rt, plan)
        x = np.full((2, 8), 2049, np.float32)  # no float16
        assert set(session.run({"x": x})["y"].flat) == {-2048.0}
        session.close()
    assert counting.ledger.lives[-1].marks == {2048.0}


def test_shape_inputs_are_said_not_to_be_played():
    rt = runtime()
    counting = Counting(rt, "V3")
    trt = rt.trt
    builder = trt.Builder(trt.Logger())
    network = builder.create_network(rt.features.network_flags(True))
    node = helper.make_node("Relu", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", value[:1], value[1:]), ir_version=8)
    model.opset_import[0].version = 17
    assert trt.OnnxParser(network, trt.Logger()).parse(model.SerializeToString())
    with pytest.raises(NotEmulated, match="shape inputs of plugins"):
        network.add_plugin_v3([network.get_input(0)], [network.get_input(0)], counting.make(FIELDS))
    layer = network.add_plugin_v3([network.get_input(0)], [], counting.make(FIELDS))
    assert type(layer).__name__ == "IPluginV3Layer" and layer.plugin.fields == FIELDS
    assert layer.type == trt.LayerType.PLUGIN_V3 and tuple(layer.get_output(0).shape) == (2,)
    assert type(network.get_layer(1)).__name__ == "IPluginV3Layer"


def test_a_plugin_that_says_nothing_is_not_added(capsys):
    rt = runtime()
    counting = Counting(rt, "V3")
    counting._plugin.get_output_shapes = broken
    model = parsed_model(FIELDS)
    del model.graph.node[1:]
    model.graph.output[0].name = "r"
    with pytest.raises(UnsupportedError, match="did not take the plugin"):
        build_added(counting, model.SerializeToString(), FIELDS, PROFILE)
    capsys.readouterr()


def test_on_a_device_plugins_get_addresses_of_device_memory():
    """Host memory stands for the device's; each layer's buffers are taken once and used again."""
    rt = runtime()
    device = rt.trt.get_plugin_registry()._host.device
    device.name = "cuda:0"
    counting = Counting(rt, "V3")
    with counting.registered():
        session = Session(rt, build_counted(rt, counting, "parsed", FIELDS))
        for rows in (1, 2, 1):
            assert np.array_equal(session.run({"x": X[:rows]})["y"], -(X[:rows] / 2 + 3))
        taken = len(device._blocks)
        assert taken == 4  # an input and an output, and again when they grew
        session.run({"x": X})
        assert len(device._blocks) == taken
        session.close()


def test_fields_and_descriptions_behave_as_those_of_the_bindings():
    trt = runtime().trt
    empty = trt.PluginField("name")
    assert (empty.name, empty.data, empty.size, empty.type) == ("name", None, 0, trt.PluginFieldType.UNKNOWN)
    empty.name, empty.type, empty.data = "other", trt.PluginFieldType.INT32, np.array([1, -2], np.int32)
    assert (empty.name, empty.data.tolist(), empty.size) == ("other", [1, -2], 2)
    fields = trt.PluginFieldCollection([empty])
    fields.append(trt.PluginField("last"))
    fields.extend([trt.PluginField("more")])
    fields.insert(0, trt.PluginField("first"))
    assert [field.name for field in fields] == ["first", "other", "last", "more"] and bool(fields)
    assert fields.pop().name == "more" and fields.pop(0).name == "first"
    fields[0] = trt.PluginField("set")
    assert [field.name for field in trt.PluginFieldCollection_(fields)] == ["set", "last"]
    fields.clear()
    assert len(fields) == 0 and len(trt.PluginFieldCollection_(fields)) == 0
    desc, dynamic = trt.PluginTensorDesc(), trt.DynamicPluginTensorDesc()
    desc.dims, desc.type, desc.scale, desc.format = (2, 3), trt.DataType.HALF, 0.5, trt.TensorFormat.CHW2
    dynamic.desc, dynamic.min, dynamic.opt, dynamic.max = desc, (1, 3), (2, 3), (4, 3)
    assert (tuple(dynamic.desc.dims), dynamic.desc.type, dynamic.desc.scale) == (
        (2, 3),
        trt.DataType.HALF,
        0.5,
    )
    assert dynamic.desc.format == trt.TensorFormat.CHW2
    assert [tuple(dims) for dims in (dynamic.min, dynamic.opt, dynamic.max)] == [(1, 3), (2, 3), (4, 3)]


def test_expressions_of_dimensions():
    trt = runtime().trt
    builder, operation = trt.IExprBuilder(), trt.DimensionOperation
    seven, two = builder.constant(7), builder.constant(2)
    want = {
        "SUM": 9,
        "PROD": 14,
        "MAX": 7,
        "MIN": 2,
        "SUB": 5,
        "EQUAL": 0,
        "LESS": 0,
        "CEIL_DIV": 4,
        "FLOOR_DIV": 3,
    }
    assert want.keys() == operation.__members__.keys()
    for name, value in want.items():
        made = builder.operation(getattr(operation, name), seven, two)
        assert made.is_constant() and made.get_constant_value() == value and not made.is_size_tensor()
    dims = trt.DimsExprs(2)
    dims[1] = seven
    assert len(dims) == 2 and dims[1].get_constant_value() == 7
