"""The FP16 report: two engines side by side, findings in words, and the report as text and as plain data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.check.half import half_report, make_half_report
from pytest_trt.check.half_pair import MARKED, SHOWN, run_pair
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import InputError, PrecisionError, UnsupportedError, UsageError
from pytest_trt.records import SUSPICIOUS, VIOLATES, Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import conv_model, make_model

NEW, OLD = "tensorrt-10.13", "tensorrt-8.6.1"
X = {"x": np.random.default_rng(0).uniform(-1, 1, (4, 3, 6, 6)).astype(np.float32)}

X2 = {"x": np.random.default_rng(1).uniform(-1, 1, (2, 4)).astype(np.float32)}


def bench(emulate=NEW, faults=()):
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, faults=faults)
    return Workbench(made, discover(made))


def chain(*nodes, constants=None, shape=("N", 4)):
    made = [helper.make_node(*node[:3], name=node[3]) for node in nodes]
    return make_model(made, shape, constants)


def grow(gain):
    return chain(
        ("Mul", ["x", "g"], ["m"], "mul"),
        ("Relu", ["m"], ["r"], "relu"),
        ("Mul", ["r", "s"], ["y"], "shrink"),
        constants={"g": np.float32([gain]), "s": np.float32([2.0**-10])},
    )


def report(model, values, **options):
    return make_half_report(bench(), model, {"x": np.array([values], np.float32)}, **options)


def checks(found):
    return [(entry.check, entry.tensor, entry.status) for entry in found.findings]


def test_every_tensor_has_a_row_in_graph_order():
    found = make_half_report(bench(), conv_model(relu=True, integer=False), X)
    assert [(row.tensor, row.layer, row.op) for row in found.rows] == [
        ("c", "conv", "Conv"), ("y", "relu", "Relu")
    ]  # fmt: skip
    assert found.passed and not found.findings and not found.unseen and found.seen == MARKED
    assert all(row.is_stored_low and 55 < row.deviation.sqnr_db < 80 for row in found.rows)
    assert found.row("c").deviation.total == 4 * 12 * 36
    assert found.row("c").forecast_ratio == pytest.approx(found.row("c").ratio, abs=1e-3)


def test_the_worst_tensor_is_first_and_ratios_are_taken_by_operator():
    found = make_half_report(bench(), conv_model(relu=True, integer=False), X, precision="fp16")
    pair = run_pair(bench(), conv_model(relu=True, integer=False), X)
    off = {"c": pair.got["c"].copy(), "y": pair.got["y"].copy()}
    off["y"].flat[:864] = 99.0
    wrong = half_report(replace(pair, got=off))
    assert [row.tensor for row in wrong.worst] == ["y", "c"]
    assert wrong.ratios()["Relu"] == wrong.row("y").ratio >= 0.5
    assert found.ratios().keys() == {"Conv", "Relu"}
    with pytest.raises(UsageError, match="no tensor 'z'"):
        found.row("z")


def test_overflow_names_its_source_and_the_way_out():
    found = report(grow(4e4), [2.0, 0.1, -4.0, 0.0])
    assert checks(found)[:2] == [("not-finite", "m", VIOLATES), ("not-finite", "r", VIOLATES)]
    first, second, third = (entry.note for entry in found.findings[:3])
    assert "2 of 4 values are infinite or NaN in fp16, and finite in fp32, as forecast" in first
    assert "layer_types={'mul': 'fp32'}" in first and "bf16" in first and "2**-3" in first
    assert "they come from 'm'" in second and "this layer too" in second
    assert "they come from 'r'" in third and "mend" not in third
    assert not found.passed and found.row("m").forecast_lost == 2


def test_constants_and_inputs_beyond_the_range_are_told():
    found = report(grow(1e5), [0.1, 0.1, 7e4, 0.0])
    given = {entry.check: entry for entry in found.findings if entry.check in ("weights", "inputs")}
    assert (given["weights"].tensor, given["inputs"].tensor) == ("g", "x")
    assert "the constant reaches 100000, fp16 ends at 65504" in given["weights"].note
    assert "what is beyond becomes infinite; mend: scale the input" in given["inputs"].note


def test_values_close_to_the_end_are_told_before_they_leave_it():
    assert checks(report(grow(1.0), [40000.0, 1, 1, 1])) == [
        ("headroom", "m", SUSPICIOUS), ("headroom", "r", SUSPICIOUS)
    ]  # fmt: skip
    assert ("overflow", "m", SUSPICIOUS) in checks(report(grow(1.0), [65510.0, 1, 1, 1]))
    assert checks(report(grow(1.0), [30000.0, 1, 1, 1])) == []


def test_values_that_vanish_are_told():
    found = report(grow(2.0**-20), [1.0, 2.0**-6, 0.5, -0.25])
    assert {check for check, _, _ in checks(found)} == {"underflow"}
    assert "25.00% of the values are below 5.96e-08 and vanish in fp16" in found.findings[0].note
    assert checks(report(grow(2.0**-30), [1.0] * 4))[-1] == ("weights", "g", SUSPICIOUS)


def clip(site):
    """An overflow is hidden."""
    if site.kind == "node" and site.node_name == "mul" and site.precision == "fp16":
        values = next(iter(site.outputs.values()))
        np.clip(values, -65504, 65504, out=values)


def test_clipping_where_an_infinity_was_forecast_is_wrong():
    made = bench(faults=(f"{__name__}:clip",))
    found = make_half_report(made, grow(4e4), {"x": np.array([[4, 1, 1, 1]], np.float32)})
    clipped = [entry for entry in found.findings if entry.check == "clipped"]
    assert [(entry.tensor, entry.status) for entry in clipped][:1] == [("m", VIOLATES)]
    assert "all are finite: out-of-range values were clipped" in clipped[0].note


def test_a_limit_for_an_operator_fails_the_report():
    model = conv_model(integer=False)
    limit = make_half_report(bench(), model, X).row("y").ratio
    assert make_half_report(bench(), model, X, limits={"Conv": limit}).passed
    found = make_half_report(bench(), model, X, limits={"Conv": limit / 2, "Relu": 0.0})
    assert checks(found) == [("deviation", "y", VIOLATES)]
    assert "the limit for Conv is" in found.findings[0].note


def wide_in_old(site):
    """The convolution is built in FP32."""
    if site.kind == "build" and site.layers.get("conv") == "fp16":
        site.layers["conv"] = "fp32"


@pytest.mark.parametrize("strict", [False, True])
def test_a_layer_that_stayed_in_fp32_is_told(strict):
    made = bench(OLD, (f"{__name__}:wide_in_old",))
    found = make_half_report(made, conv_model(relu=True, integer=False), X, strict=strict)
    assert ("kept-fp32", "c", SUSPICIOUS) in checks(found) and found.passed
    assert ("mend: strict=True" in found.findings[0].note) is not strict
    assert not found.row("c").is_stored_low


def test_an_operator_that_onnx_lacks_in_16_bits_is_in_fp32_by_right():
    model = chain(
        ("Relu", ["x"], ["r"], ""), ("CumSum", ["r", "axis"], ["h"], ""), ("Neg", ["h"], ["y"], ""),
        constants={"axis": np.int64(1)},
    )  # fmt: skip
    model.opset_import[0].version = 13  # CumSum-11 has float and double
    found = make_half_report(bench(), model, X2)
    assert not found.row("h").is_stored_low and found.row("h").layer == "CumSum h"
    assert found.row("y").is_stored_low and checks(found) == [] and found.unseen == ()


def test_fused_engines_show_what_lies_between_their_layers():
    found = make_half_report(bench(), conv_model(relu=True, integer=False), X, fused=True)
    assert found.seen == SHOWN and "debug tensors of the fused engine" in found.lines()[1]
    assert {row.tensor for row in found.rows} | set(found.unseen) == {"c", "y"}
    with pytest.raises(UnsupportedError, match="does not show tensors without breaking fusion"):
        make_half_report(bench("tensorrt-10.0"), conv_model(), X, fused=True)


@pytest.mark.parametrize("precision", ["bf16"])
def test_bf16_has_the_range_and_fewer_digits(precision):
    wide = report(grow(4e4), [2.0, 0.1, -4.0, 0.0], precision=precision)
    assert wide.passed and checks(wide) == []
    pair = [make_half_report(bench(), conv_model(integer=False), X, precision=p) for p in ("fp16", precision)]
    drop = pair[0].row("y").deviation.sqnr_db - pair[1].row("y").deviation.sqnr_db
    assert 15 < drop < 21  # three bits


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(PrecisionError, match="no report on int8"):
        make_half_report(bench(), conv_model(), X, precision="int8")
    with pytest.raises(InputError, match="no data for input 'x'"):
        make_half_report(bench(), conv_model(), {})
    node = helper.make_node("Not", ["x"], ["y"])
    boolean = [helper.make_tensor_value_info(name, TensorProto.BOOL, [2]) for name in "xy"]
    graph = helper.make_graph([node], "g", boolean[:1], boolean[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(PrecisionError, match="no tensor in fp32"):
        make_half_report(bench(), model, {"x": np.zeros(2, bool)})


def test_a_graph_output_alone_is_a_report():
    found = report(chain(("Relu", ["x"], ["y"], "relu")), [1.0, -1.0, 0.0, 2.0])
    assert [row.tensor for row in found.rows] == ["y"] and found.row("y").ratio == 0


def test_lines_put_findings_before_the_worst_tensors_and_totals_last():
    found = report(grow(4e4), [2.0, 0.1, -4.0, 0.0])
    lines = found.lines(limit=1)
    assert lines[0].startswith(
        "fp16 against fp32 (TF32 off): 3 tensors; strong typing; emulator (tensorrt-10.13"
    )
    assert (
        lines[1]
        == "  every inner tensor was marked as an output, so each was stored and nothing was fused across it"
    )
    assert lines[2].startswith("  violates: not-finite of 'm': 2 of 4 values")
    head = next(place for place, line in enumerate(lines) if line.startswith("  tensor"))
    assert lines[head].split()[:3] == ["tensor", "layer", "operator"]
    assert lines[head + 1].split()[:6] == ["m", "mul", "Mul", "2", "4", "50.0000%"]
    assert lines[head + 2] == "  and 2 tensors with smaller ratios"
    assert lines[-2].endswith("  4 of 12 elements deviate (33.3333%)") and lines[-1].startswith(
        "  by operator: "
    )


def test_only_the_first_findings_are_told_in_a_terminal():
    found = report(grow(4e4), [2.0, 0.1, -4.0, 0.0])
    many = replace(found, findings=found.findings[:1] * 12, unseen=tuple("abcdefg"))
    lines = many.lines()
    assert "  and 2 findings more" in lines
    assert "  7 tensors were not seen: a, b, c, d, e, ..." in lines
    empty = replace(found, rows=(), findings=())
    assert empty.lines()[-1] == "  no element was compared"


def test_the_section_is_plain_data():
    found = report(grow(4e4), [2.0, 0.1, -4.0, 0.0])
    section = json.loads(json.dumps(found.section()))
    assert section["title"] == "FP16 report" and len(section["rows"]) == 3
    assert all(len(row) == len(section["head"]) for row in section["rows"])
    assert any("not-finite of 'm'" in line for line in section["text"])
    plot = section["plot"]
    assert (plot["kind"], plot["log"], plot["unit"]) == ("bars", True, "%")
    assert plot["labels"] == ["m", "r", "y"] and plot["series"]["deviation ratio"][0] == 50.0
    many = replace(found, rows=tuple(replace(found.rows[0], tensor=f"t{n}") for n in range(60)))
    assert len(many.section()["plot"]["labels"]) == 40 and len(many.section()["rows"]) == 60


def test_a_tensor_without_elements_has_no_row():
    pair = run_pair(bench(), conv_model(relu=True, integer=False), X)
    none = np.zeros((0, 12), np.float32)
    found = half_report(replace(pair, want=pair.want | {"c": none}, got=pair.got | {"c": none}))
    assert [row.tensor for row in found.rows] == ["y"]
