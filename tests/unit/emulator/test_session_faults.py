"""Faults of batches, contexts, refit and rebuild leave alone what they do not speak of."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pytest_trt.emulator import faults
from pytest_trt.emulator.faults import batches, sessions
from pytest_trt.emulator.sites import Site

from .models import conv

NAMES = sorted(
    name
    for name, entry in faults.FAULTS.items()
    if entry.call.__module__ in (batches.__name__, sessions.__name__)
)


def ran(batch=4, *, memory=None, largest=None, **fields):
    """Return the site of a run whose output counts up."""
    x = np.ones((batch, 3, 4), np.float32)
    settings = {
        "batch": batch,
        "profile": {"x": ((1, 3, 4), (batch, 3, 4), (largest or batch, 3, 4))},
        "engine_id": 1,
        "context_id": 1,
        "run_index": 0,
        "thread_id": 7,
        "stream": 16,
        "previous_outputs": {},
        "memory": {} if memory is None else memory,
    }
    return Site(
        "execute", fields.pop("precision", "fp32"), "t4", np.random.default_rng(0), inputs={"x": x},
        outputs={"y": np.arange(1, 1 + batch * 6, dtype=np.float32).reshape(batch, 2, 3)}, **settings | fields
    )  # fmt: skip


def changed(name, site):
    """Tell whether a fault changes the output of a run, or says that it failed."""
    before = {key: np.array(values) for key, values in site.outputs.items()}
    answer = faults.FAULTS[name].call(site)
    written = [np.ma.isMaskedArray(v) and v.mask.any() for v in site.outputs.values()]
    return answer is False or any(written) or any(
        not np.array_equal(before[key], values) for key, values in site.outputs.items()
    )  # fmt: skip


def test_every_fault_names_its_mutant_and_what_it_does():
    assert len(NAMES) > 30
    for name in NAMES:
        entry = faults.FAULTS[name]
        assert (
            entry.call.__doc__
            and entry.mutants
            and entry.family in ("batch", "concurrency", "refit", "build")
        )
    covered = {mutant for name in NAMES for mutant in faults.FAULTS[name].mutants}
    assert covered == {*(f"M{n:02}" for n in range(3, 9)), *(f"M{n}" for n in (*range(21, 27), 29))}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["time", "calibrate"])
def test_other_sites_are_left_alone(name, kind):
    site = Site(kind, "fp16", "t4", np.random.default_rng(0), memory={})
    fields = dict(vars(site))
    assert faults.FAULTS[name].call(site) is None
    assert vars(site) == fields and site.memory == {}


@pytest.mark.parametrize(
    ("name", "below", "at"),
    [
        ("rows_computed_from_row_zero", 1, 2),
        ("rows_shifted_by_one", 1, 2),
        ("rows_nan_but_the_first", 1, 2),
        ("slot_dependent_noise", 1, 2),
        ("slot_dependent_noise_of_two_ulp", 1, 2),
        ("rows_shifted_from_batch_8", 7, 8),
        ("rows_wrap_from_batch_40", 39, 40),
        ("rows_shifted_at_batch_65536", 65535, 65536),
    ],
)
def test_a_batch_fault_begins_at_its_batch(name, below, at):
    assert not changed(name, ran(below)) and changed(name, ran(at))
    assert name != "rows_shifted_at_batch_65536" or not changed(name, ran(65537))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_one_fault_is_of_int8_alone(precision):
    assert changed("int8_rows_computed_from_row_zero", ran(precision=precision)) is (precision == "int8")


@pytest.mark.parametrize("name", ["padding_leaks_below_profile_maximum", "rows_depend_on_profile_width"])
def test_a_profile_fault_needs_a_wider_profile(name):
    assert not changed(name, ran(4)) and changed(name, ran(4, largest=8))


def test_a_narrow_input_in_a_wider_profile():
    name = "only_the_largest_extents_right"
    assert not changed(name, ran(4, largest=8))
    assert changed(name, ran(4, profile={"x": ((1, 3, 4), (4, 3, 4), (4, 3, 5))}))


@pytest.mark.parametrize("name", ["fused_channel_zero_unless_marked", "fused_activation_lost_unless_marked"])
def test_a_marked_output_makes_a_fusion_right(name):
    for marked in (frozenset(), frozenset({"c"})):
        x = np.float32([[-1, -2]])
        site = Site(
            "node", "fp32", "t4", np.random.default_rng(0), op_type="Relu", inputs={"x": x},
            outputs={"y": np.full_like(x, 3)}, marked_outputs=marked,
        )  # fmt: skip
        assert changed(name, site) is not marked


def test_stale_outputs_need_a_run_before():
    before = {"y": np.zeros((4, 2, 3), np.float32)}
    assert not changed("previous_output_returned", ran())
    assert changed("previous_output_returned", ran(previous_outputs=before))
    assert not changed("third_enqueue_fails", ran(run_index=1)) and changed(
        "third_enqueue_fails", ran(run_index=2)
    )


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("contexts_exchange_rows", {"context_id": 2}),
        ("context_wrong_after_another_ran", {"context_id": 2}),
        ("tail_read_early_on_another_stream", {"stream": 32}),
        ("tail_read_early_in_another_thread", {"thread_id": 8}),
    ],
)
def test_a_fault_of_contexts_needs_two_of_them_on_one_engine(name, other):
    stale = {"previous_outputs": {"y": np.zeros((4, 2, 3), np.float32)}, "run_index": 1}
    for engine, hit in ((1, True), (2, False)):
        memory = {}
        first = ran(memory=memory, **stale)
        first.outputs["y"] += 50
        assert not changed(name, first)
        assert changed(name, ran(memory=memory, engine_id=engine, **stale, **other)) is hit


def test_a_rare_exchange_happens_in_about_one_run_of_eight():
    memory, hits = {}, 0
    for run in range(400):
        site = ran(memory=memory, context_id=1 + run % 2)
        site.outputs["y"] += 100 * (run % 2)
        hits += changed("contexts_exchange_rows_at_times", site)
    assert 0.07 < hits / 400 < 0.18


@pytest.mark.parametrize("name", ["every_second_build_differs", "rebuilt_engine_differs"])
@pytest.mark.parametrize("kind", ["f4", "f2", "i1", "bf16"])
def test_a_rebuild_changes_one_weight(name, kind):
    memory, models = {}, []
    for _ in range(2):
        model = conv()
        weights = next(t for t in model.graph.initializer if t.name == model.graph.node[0].input[1])
        values = onnx.numpy_helper.to_array(weights)
        if kind == "bf16":
            made = onnx.helper.make_tensor(
                weights.name, onnx.TensorProto.BFLOAT16, values.shape, values.reshape(-1).tolist()
            )
        else:
            made = onnx.numpy_helper.from_array((values * 4).astype(kind), weights.name)
        weights.CopyFrom(made)
        before = model.SerializeToString()
        site = Site("build", "fp32", "t4", np.random.default_rng(0), memory=memory, model=model, plan=b"p")
        faults.FAULTS[name].call(site)
        models.append((before, model.SerializeToString(), made, weights))
    assert models[0][0] == models[0][1] and models[1][0] != models[1][1]
    made, weights = models[1][2:]
    assert made.data_type == weights.data_type
    if kind != "bf16":
        old, new = onnx.numpy_helper.to_array(made), onnx.numpy_helper.to_array(weights)
        assert np.count_nonzero(old != new) == 1
