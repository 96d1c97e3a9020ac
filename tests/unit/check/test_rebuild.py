"""Engines built, loaded and refitted again: what is asked of TensorRT, and how its refusals are told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx.defs
import pytest

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.check.rebuild import check_rebuild, check_refit, refit, why_no_refit
from pytest_trt.check.relations import Base, compare_engine
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ExecutionError
from pytest_trt.numerics.bounds import Contract
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover

from .models import PROFILE, conv_model, unlimited_model


def subject(model=None, precision="fp32", profile=PROFILE, **settings):
    made = Settings(runtime="emulator", gpu="a100", **settings)
    return Workbench(made, discover(made)).subject(model or conv_model(), precision, profile)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_a_typed_graph_can_be_refitted(precision):
    assert why_no_refit(subject(precision=precision)) == ""


def test_where_there_is_no_refit_it_is_said_why():
    assert "weakly typed" in why_no_refit(subject(precision="fp16", emulate="tensorrt-8.6"))
    if onnx.defs.onnx_opset_version() >= 22:
        assert "no weights" in why_no_refit(subject(precision="bf16"))
    wide = {"x": ((1, 4, 6), (2, 4, 6), (4, 4, 6))}
    assert "no weights" in why_no_refit(subject(unlimited_model(), profile=wide))
    lacking = subject()
    lacking.rt = SimpleNamespace(
        features=SimpleNamespace(builder_flags=()), trt=lacking.rt.trt, title="TensorRT 99"
    )
    assert why_no_refit(lacking) == "TensorRT 99 has no BuilderFlag.REFIT or no Refitter"


class Refitter:
    """Takes the weights that it is asked to take."""

    def __init__(self, wrong):
        self.wrong = wrong

    def get_all_weights(self):
        return [] if self.wrong == "none" else ["b", "w"]

    def get_missing_weights(self):
        return ["v"] if self.wrong == "missing" else []

    def set_named_weights(self, name, weights):
        return self.wrong != "set" or name != "w"

    def refit_cuda_engine(self):
        return self.wrong != "refit"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("none", "the engine has none of the weights of its model"),
        ("set", "the refitter did not take weights 'w'"),
        ("missing", "the refitter misses weights 'v'"),
        ("refit", "refit_cuda_engine returned False"),
    ],
)
def test_each_answer_of_the_refitter_is_checked(wrong, words):
    given = subject()
    rt = given.rt
    trt = SimpleNamespace(Refitter=lambda engine, logger: Refitter(wrong), Weights=lambda values: values)
    given.rt = SimpleNamespace(logger=rt.logger, active=rt.active, title=rt.title, trt=trt)
    given.engine = None
    with pytest.raises(ExecutionError, match=words) as caught:
        refit(given, {"w": np.ones(3, np.float32), "b": np.ones(1, np.float32)})
    assert caught.value.why == (f"{rt.title} logged no error",)


def test_a_refusal_to_refit_is_told_in_the_words_of_tensorrt():
    with subject() as plain, pytest.raises(ExecutionError) as caught:
        refit(plain, {"w": np.ones(3, np.float32)})
    assert any("not refittable" in line for line in caught.value.why)


def test_a_refit_goes_to_the_engine_and_back():
    with subject() as given:
        feeds = {"x": np.ones((2, 3, 6, 6), np.float32)}
        base = Base(feeds, given.run(feeds), {})
        assert [broken for _, broken in check_refit(given, [base])] == [None, None]


def test_an_engine_that_does_not_serialise_is_an_error():
    with subject() as given:
        feeds = {"x": np.ones((2, 3, 6, 6), np.float32)}
        base = Base(feeds, given.run(feeds), {})
        given.engine = SimpleNamespace(serialize=lambda: None)
        with pytest.raises(ExecutionError, match="did not serialise"):
            list(check_rebuild(given, [base], rebuilds=1))


def test_another_engine_may_give_what_is_admissible_and_no_more():
    graph = Graph(conv_model(integer=False))
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)}
    admissible = Admissible(graph, feeds, Contract())
    limits = admissible.on("direct").tensors
    got = {"y": limits["y"].mid.astype(np.float32)}
    base = Base(feeds, got, limits, admissible)
    near = {"y": np.nextafter(got["y"], np.float32(np.inf))}
    far = {"y": got["y"] * np.float32(1.01)}
    assert compare_engine("r", got, base) is None and compare_engine("r", near, base) is None
    assert compare_engine("r", far, base).measure.bad
    assert compare_engine("r", {"y": got["y"][:1]}, base).measure.cause == "shape"
    bits = Base(feeds, got, {})
    assert compare_engine("r", got, bits) is None and compare_engine("r", near, bits).measure.bad
