"""What the emulator picks: by time, within the workspace limit, the same for the same layer."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.emulator.building import Refusal
from pytest_trt.emulator.graph import load
from pytest_trt.emulator.tactics import COUNTERS, Tuner, key_of, offers

from .driver import Driver


def row(op="Conv", shape=(2, 4, 8, 8), out=(2, 6, 8, 8), working="fp32"):
    return {
        "name": "layer", "op": op, "working": working, "kind": op,
        "inputs": [["x", working, list(shape)]], "outputs": [["y", working, list(out)]],
    }  # fmt: skip


def graph(kernel=3, group=1, **attributes):
    weights = numpy_helper.from_array(np.zeros((6, 4 // group, kernel, kernel), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="layer", group=group, **attributes)
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "y")]
    made = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, [2, 4, 8, 8])], ports[1:], [weights]
    )
    return load(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize(("working", "size"), [("fp32", 4), ("fp16", 2), ("int8", 1)])
def test_columns_decide_the_workspace(working, size):
    found = {tactic.name: tactic.workspace for tactic in offers(row(working=working), graph())}
    columns = 4 * 9 * 64 * size
    assert found["direct"] == COUNTERS and found["im2col_direct"] == columns
    assert found["im2col_batch_direct"] == 2 * columns


def test_groups_and_kernel_shape_are_read():
    (_, grouped, _) = offers(row(), graph(group=2, pads=[1, 1, 1, 1]))
    assert grouped.workspace == 2 * 9 * 64 * 4
    (_, told, _) = offers(row(), graph(kernel_shape=[3, 3]))
    assert told.workspace == 4 * 9 * 64 * 4


@pytest.mark.parametrize("shapes", [{"op": "Gemm"}, {"out": (-1, 6, 8, 8)}, {"op": "ConvTranspose"}])
def test_others_are_offered_as_a_direct_sum(shapes):
    assert [tactic.name for tactic in offers(row(**shapes), graph())] == ["direct"]
    assert offers(row(op="Relu"), graph()) == ()


@pytest.mark.parametrize(
    ("limit", "picked"),
    [
        (None, "im2col_batch_direct"),
        (18432, "im2col_batch_direct"),
        (18431, "im2col_direct"),
        (9215, "direct"),
        (256, "direct"),
    ],
)
def test_the_quickest_that_fits_is_picked(limit, picked):
    rows = [row()]
    Tuner(graph(), 75, limit, None, False).tune(rows)
    assert rows[0]["tactic"] == picked


def test_nothing_fits():
    with pytest.raises(Refusal, match="within the workspace limit of 255 bytes"):
        Tuner(graph(), 75, 255, None, False).tune([row()])


def test_a_cache_knows_a_layer_by_all_that_its_time_depends_on():
    keys = {key_of(row(), graph(), 75), key_of(row(), graph(), 89), key_of(row(working="fp16"), graph(), 75)}
    keys |= {key_of(row(shape=(1, 4, 8, 8)), graph(), 75), key_of(row(), graph(pads=[1, 1, 1, 1]), 75)}
    assert len(keys) == 5
    entries = {}
    first = Tuner(graph(), 75, None, entries, False)
    first.tune([row(), row()])
    again = Tuner(graph(), 75, None, entries, True)
    again.tune([row()])
    assert len(entries) == 1 and (first.hits, again.hits) == (0, 1)
    entries = {
        key: text.replace("im2col_batch_direct=", "im2col_batch_direct=9") for key, text in entries.items()
    }
    rows = [row()]
    Tuner(graph(), 75, None, entries, True).tune(rows)
    assert rows[0]["tactic"] == "im2col_direct"  # the times of the cache count


def test_the_engine_needs_the_memory_of_what_was_picked():
    driver = Driver()
    sizes = []
    for limit in (None, 1 << 10):
        config = driver.config()
        if limit is not None:
            config.set_memory_pool_limit(driver.trt.MemoryPoolType.WORKSPACE, limit)
        model = helper.make_model(
            helper.make_graph(
                [helper.make_node("Conv", ["x", "w"], ["y"], name="layer")],
                "g",
                [helper.make_tensor_value_info("x", 1, [2, 4, 8, 8])],
                [helper.make_tensor_value_info("y", 1, [2, 6, 6, 6])],
                [numpy_helper.from_array(np.ones((6, 4, 3, 3), np.float32), "w")],
            ),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        plan = driver.builder.build_serialized_network(driver.network(model), config)
        engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
        sizes.append(engine.device_memory_size_v2)
    assert sizes[0] - sizes[1] == 41 * 256 - 256  # columns of two images, in whole blocks; counters alone
