"""Implicit INT8, constraints, types of single layers and dummy ranges: what is made ready, and what is refused in words."""

from __future__ import annotations

import pytest

from pytest_trt.errors import ModelError, PrecisionError, SettingsError
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.attribution import typed_products

from .models import conv_relu, feed, kinds, run


@pytest.mark.parametrize(("hybrid", "flags"), [("off", {"INT8"}), ("fp16", {"INT8", "FP16"})])
def test_implicit_int8_is_a_flag_on_the_users_graph(hybrid, flags):
    model = conv_relu()
    ready = prepare(model, "int8", strong=False, implicit=True, hybrid=hybrid)
    assert ready.model is model and ready.matched is model and ready.implicit
    assert ready.flags == flags and ready.scales == {}


def test_implicit_int8_of_a_model_with_pairs_of_its_own_is_explicit():
    model = conv_relu()
    own = prepare(model, "int8", strong=True, ranges=measure_ranges(model, [feed()])).model
    ready = prepare(own, "int8", strong=False, implicit=True)
    assert not ready.implicit and set(ready.scales) == {"x", "y_float"}


def test_implicit_int8_needs_weak_typing():
    with pytest.raises(PrecisionError, match="implicit INT8 needs weak typing") as caught:
        prepare(conv_relu(), "int8", strong=True, implicit=True)
    assert "8.6 and 10.x" in caught.value.why[0]
    assert "--trt-typing=weak" in caught.value.mend and "--trt-int8=explicit" in caught.value.mend


@pytest.mark.parametrize("kind", ["prefer", "obey"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_constraints_travel_with_the_model(kind, precision):
    assert prepare(conv_relu(), precision, strong=False, constraints=kind).constraints == kind


@pytest.mark.parametrize("facts", [{"constraints": "obey"}, {"layer_types": {"conv": "fp32"}}])
def test_constraints_need_weak_typing(facts):
    with pytest.raises(PrecisionError, match="need weak typing") as caught:
        prepare(conv_relu(), "fp16", strong=True, **facts)
    assert "--trt-typing=weak" in caught.value.mend and "Cast" in caught.value.mend


def test_an_unknown_constraint_is_refused():
    with pytest.raises(SettingsError, match="unknown constraint 'strict'") as caught:
        prepare(conv_relu(), "fp16", strong=False, constraints="strict")
    assert "off, prefer, obey" in caught.value.why[0]


def test_a_layer_kept_in_fp32_is_so_in_the_graph_that_is_judged():
    ready = prepare(conv_relu(), "fp16", strong=False, constraints="obey", layer_types={"conv": "fp32"})
    assert typed_products(ready.matched) == {"conv": "fp32"}
    assert kinds(ready.matched) == ["Conv", "Cast", "Relu", "Cast"]
    assert ready.kept_fp32 == () and ready.layer_types == {"conv": "fp32"}


def test_a_layer_kept_in_fp32_has_no_pairs():
    model = conv_relu()
    ranges = measure_ranges(model, [feed()])
    ready = prepare(model, "int8", strong=False, ranges=ranges, layer_types={"conv": "fp32"})
    assert typed_products(ready.matched) == {"conv": "fp32"}
    both = prepare(model, "int8", strong=False, ranges=ranges, hybrid="fp16", layer_types={"conv": "fp16"})
    assert typed_products(both.matched) == {"conv": "fp16"}


def test_a_layer_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(ModelError, match="no layer 'cnov'") as caught:
        prepare(conv_relu(), "fp16", strong=False, layer_types={"cnov": "fp32"})
    assert "it has conv, relu" in caught.value.why[0] and "'conv'" in caught.value.mend


def test_a_type_that_a_layer_cannot_have_is_refused():
    with pytest.raises(SettingsError, match="unknown type for layer 'conv' at fp16: 'bf16'") as caught:
        prepare(conv_relu(), "fp16", strong=False, layer_types={"conv": "bf16"})
    assert "fp32, fp16" in caught.value.why[0]


def test_dummy_ranges_are_one_constant_scale_under_strong_typing():
    ready = prepare(conv_relu(), "int8", strong=True, dummy_range=2.0)
    assert {name for name, scale in ready.scales.items() if scale.ndim == 0} == {"x", "y"}
    assert float(ready.scales["x"]) == float(ready.scales["y"]) == pytest.approx(2 / 127)
    assert run(ready.model, feed())["y"].shape == (2, 4, 5, 5)


def test_dummy_ranges_are_dynamic_ranges_under_weak_typing():
    model = conv_relu()
    ready = prepare(model, "int8", strong=False, dummy_range=2.0)
    assert ready.model is model and ready.flags == {"INT8"} and ready.dummy_range == 2.0


@pytest.mark.parametrize("strong", [True, False])
def test_what_has_dummy_ranges_is_not_judged(strong):
    ready = prepare(conv_relu(), "int8", strong=strong, dummy_range=2.0)
    assert not ready.accurate
    with pytest.raises(
        PrecisionError, match="built for a speed trial with dummy ranges; its outputs mean nothing"
    ):
        ready.demand_accurate()
    honest = prepare(conv_relu(), "fp16", strong=strong, dummy_range=2.0)  # INT8 alone has ranges
    assert honest.accurate
    honest.demand_accurate()


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_a_dummy_range_is_a_positive_number(wrong):
    with pytest.raises(PrecisionError, match="a dummy range is a positive number"):
        prepare(conv_relu(), "int8", strong=True, dummy_range=wrong)


def test_dummy_ranges_do_nothing_for_a_model_with_pairs_of_its_own():
    model = conv_relu()
    own = prepare(model, "int8", strong=True, ranges=measure_ranges(model, [feed()])).model
    with pytest.raises(PrecisionError, match="dummy ranges would change nothing"):
        prepare(own, "int8", strong=True, dummy_range=1.0)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("strong", [True, False])
def test_a_library_writes_the_graph_where_it_is_asked_to(precision, strong):
    model = conv_relu()
    facts = {"strong": strong, "ranges": measure_ranges(model, [feed()])}
    ready = prepare(model, precision, rewriter="onnxruntime", **facts)
    own = prepare(model, precision, **facts)
    assert typed_products(ready.matched) == typed_products(own.matched) == {"conv": precision}
    assert ready.flags == own.flags and {*ready.scales} <= {*own.scales}
    with pytest.raises(SettingsError, match="'magic'"):
        prepare(model, precision, rewriter="magic", **facts)
