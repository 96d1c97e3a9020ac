"""Faults of tuning: implementations that are picked against the workspace limit, the timing cache or the flags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onnx import TensorProto, helper, numpy_helper

from pytest_trt.emulator.faults.linear import LINEAR
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.plan import Plan

_SMALL = 1 << 24
_HIGH_LEVEL = 5


def _lose_last_channel(model: Any) -> None:
    """Zero the weights of the last input channel of the last convolution."""
    names = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    for tensor in model.graph.initializer:
        if tensor.name in names[-1:]:
            weights = numpy_helper.to_array(tensor).copy()
            weights[:, -1] = 0
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))


@fault("build")
def small_workspace_gives_another_answer(site: Any) -> None:
    """Lose the last input channel of a convolution where the workspace is limited to less than 16 MiB."""
    if site.kind == "build" and site.workspace_limit is not None and site.workspace_limit < _SMALL:
        _lose_last_channel(site.model)


@fault("build")
def workspace_limit_ignored(site: Any) -> None:
    """Pick the implementation that needs the most scratch memory, whatever the limit."""
    if site.kind == "build":
        site.tactics = {name: max(offer, key=offer.get) for name, offer in site.offered.items()}


@fault("build")
def workspace_refused_without_words(site: Any) -> None:
    """Fail to build for want of workspace, and do not say so."""
    if site.kind == "log" and site.severity == "ERROR" and "workspace" in site.text.lower():
        site.to = ()


@fault("build")
def cached_tactics_not_reused(site: Any) -> None:
    """Pick another implementation than the timing cache says, where it knows the layer."""
    if site.kind == "build" and site.cache_hits:
        for name, offer in site.offered.items():
            others = sorted(set(offer) - {site.tactics[name]})
            site.tactics[name] = others[0] if others else site.tactics[name]


@fault("build")
def timing_cache_of_other_version_accepted(site: Any) -> None:
    """Take a timing cache whatever version and GPU it is of."""
    if site.kind == "cache":
        site.accepted = True


@fault("build", "fp32 tf32")
def fp16_without_its_flag(site: Any) -> None:
    """Compute the last convolution or matrix product in FP16, where neither flag nor graph says so."""
    if (
        site.kind != "build"
        or site.precision not in ("fp32", "tf32")
        or site.flags & {"FP16", "BF16", "INT8"}
    ):
        return
    graph = site.model.graph
    chosen = [node for node in graph.node if node.op_type in LINEAR and node.output[0]]
    if not chosen:
        return
    node = chosen[-1]
    at = list(graph.node).index(node)
    for position, name in enumerate(node.input):
        if name:
            node.input[position] = f"{name}@half"
            cast = helper.make_node(
                "Cast", [name], [f"{name}@half"], f"{name} to half", to=TensorProto.FLOAT16
            )
            graph.node.insert(at, cast)
            at += 1
    result = node.output[0]
    node.output[0] = f"{result}@half"
    cast = helper.make_node("Cast", [f"{result}@half"], [result], f"{result} from half", to=TensorProto.FLOAT)
    graph.node.insert(at + 1, cast)


@fault("build", "fp16 bf16")
def conversions_not_listed(site: Any) -> None:
    """Convert inputs of the network between types, and do not tell of it in the list of layers."""
    if site.kind == "build" and site.plan is not None:
        plan = Plan.unpack(site.plan)
        rows = [row for row in plan.settings["layers"] if row["kind"] != "Reformat"]
        if len(rows) < len(plan.settings["layers"]):
            site.plan = replace(plan, settings={**plan.settings, "layers": rows}).pack()


@fault("build")
def highest_optimization_level_gives_another_answer(site: Any) -> None:
    """Lose the last input channel of a convolution at builder optimization level 5."""
    if site.kind == "build" and site.steering.get("builder_optimization_level") == _HIGH_LEVEL:
        _lose_last_channel(site.model)
