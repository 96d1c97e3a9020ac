"""Every form of every recipe is a valid model, computes what its name says, and leads to one shape."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pytest_trt.check.graph import Graph
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.errors import SettingsError
from pytest_trt.strategies import Case
from pytest_trt.strategies.elementwise import ElementwiseCase
from pytest_trt.strategies.recipes import EXPONENTS, RECIPES, RESIZES

SHAPE = (4, 3, 5)


def make(family, form, shape=SHAPE, span=()):
    return ElementwiseCase(family, 2, "real", 0, span, shape, form)


@pytest.mark.parametrize("family", RECIPES)
def test_every_form_is_a_model_of_the_shape_that_it_says(family):
    x = np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)
    results = []
    for form in RECIPES[family].forms(SHAPE):
        for span in ((), (1, 2, 4)):
            case = make(family, form, span=span)
            assert case.flaw() is None
            model = case.model()
            onnx.checker.check_model(model, full_check=True)
            found = OnnxRuntime(Graph(model)).run(dict.fromkeys(case.input_shapes, x))["y"]
            said = [d.dim_value or 2 for d in model.graph.output[0].type.tensor_type.shape.dim]
            assert list(found.shape) == said
        results.append(found)
    assert len(results) == len({(r.shape, r.tobytes()) for r in results}), "two forms are the same"


def test_the_families_compute_what_their_names_say():
    x = np.random.default_rng(1).standard_normal((2, *SHAPE)).astype(np.float32)

    def run(family, form=0, **other):
        return OnnxRuntime(Graph(make(family, form).model())).run({"x": x, **other})["y"]

    np.testing.assert_allclose(run("silu"), x / (1 + np.exp(-x)), rtol=1e-5)
    np.testing.assert_allclose(run("mish"), x * np.tanh(np.log1p(np.exp(x))), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        run("gelu"), x * 0.5 * (1 + np.tanh(0.79788 * (x + 0.044715 * x**3))), atol=1e-3
    )
    np.testing.assert_array_equal(run("gather"), x[:, [3, 0, 1]])
    np.testing.assert_allclose(
        run("reduce_mean", 2 * 0b101 + 1), x.mean(axis=(1, 3), keepdims=True), rtol=1e-5, atol=1e-6
    )
    for form, exponent in enumerate(EXPONENTS):
        base = x if form < 2 else np.abs(x)
        np.testing.assert_allclose(run("pow", form), base**exponent, rtol=1e-4)
    for form, (_, _, _, factors) in enumerate(RESIZES):
        assert run("resize", form).shape[2:] == tuple(
            int(d * f) for d, f in zip((3, 5), factors, strict=True)
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lrn-n1-c3x4-f0-w_int-s0", "lrn needs 3 numbers in c"),
        ("resize-n1-c3x4x4-f99-w_int-s0", "resize knows no form 99"),
        ("layer_norm-n1-c3x4-f0-w_int-s0", "layer_norm knows no form 0"),
        ("reduce_sum-n1-c3x4-f1-w_int-s0", "reduce_sum knows no form 1"),
    ],
)
def test_what_has_no_model_is_refused(text, words):
    with pytest.raises(SettingsError) as caught:
        Case.parse(text)
    assert words in str(caught.value)
