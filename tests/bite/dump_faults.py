"""Faults of single layers and fusions, and of what looking into an engine does to it, for the tests of dumps."""

from __future__ import annotations


def _outputs(site, name):
    return site.outputs.values() if site.kind == "node" and site.node_name == name else ()


def wrong_middle(site):
    """The fourth convolution gives twice what it should."""
    for values in _outputs(site, "conv3"):
        values *= 2


def relu_of_a_fusion_lost(site):
    """The fourth ReLU passes its input on while it is fused with the convolution before it (issue 3390)."""
    for name, values in (
        list(site.outputs.items()) if site.kind == "node" and site.node_name == "relu3" else ()
    ):
        if "c3" not in site.marked_outputs:
            site.outputs[name] = site.inputs["c3"].astype(values.dtype)


def wrong_unless_two_are_kept(site):
    """The pool is wrong unless the results of two convolutions are kept."""
    for values in _outputs(site, "pool"):
        if not {"c1", "c4"} <= site.marked_outputs:
            values += 1


def wrong_behind_a_branch(site):
    """A convolution on one of two branches is wrong while nothing is kept."""
    for values in _outputs(site, "left"):
        if not site.marked_outputs:
            values += 1


def wrong_while_somebody_listens(site):
    """The output of a run is wrong once a debug tensor of it was shown."""
    if site.kind == "debug" and site.is_on:
        site.memory["shown"] = True
    if site.kind == "execute" and site.memory.pop("shown", False):
        for values in site.outputs.values():
            values += 1
