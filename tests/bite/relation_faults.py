"""Planted defects of one relation each; the operator behind them has no limit, so that nothing else can see them."""

from __future__ import annotations


def _shift(site):
    for name, values in site.outputs.items():
        if not name.startswith("beside"):
            values.reshape(-1)[-1] += 0.25


def _span(site):
    ((least, best, most),) = (shapes for name, shapes in site.profile.items() if name == "x")
    return least[0], best[0], most[0]


def wrong_at_a_batch_of_33(site):
    """One batch size has a kernel of its own, a wrong one."""
    if site.kind == "execute" and site.batch == 33:
        _shift(site)


def wrong_where_shapes_are_fixed(site):
    """A profile of one shape is built as a static network, wrongly."""
    if site.kind == "execute" and len(set(_span(site))) == 1:
        _shift(site)


def wrong_where_best_is_smallest(site):
    """A tactic that was timed at the smallest batch reads too far."""
    if site.kind == "execute" and _span(site)[0] == _span(site)[1] < _span(site)[2]:
        _shift(site)


def wrong_where_best_is_largest(site):
    """A tactic that was timed at the largest batch reads too far."""
    if site.kind == "execute" and _span(site)[0] < _span(site)[1] == _span(site)[2]:
        _shift(site)


def wrong_with_nodes_beside(site):
    """Another input takes the place of the first one's last element."""
    if site.kind == "execute" and len(site.inputs) > 1:
        _shift(site)


def wrong_behind_a_transpose(site):
    """A function that reads a transposed tensor reads its last element elsewhere."""
    if site.kind == "node" and site.op_type == "Transpose" and "Asinh" in next(iter(site.readers.values())):
        _shift(site)


def concat_of_convolutions_loses_one(site):
    """A Concat leaves the last part of its buffer unwritten."""
    if site.kind == "node" and site.op_type == "Concat":
        for values in site.outputs.values():
            values[:, -1] = 0


def sum_of_a_tensor_with_itself_keeps_one(site):
    """An Add of one tensor to itself is left out."""
    if site.kind == "node" and site.op_type == "Add" and len(site.inputs) == 1:
        for name, values in site.outputs.items():
            site.outputs[name] = next(iter(site.inputs.values())).astype(values.dtype)


def matrix_product_loses_a_term(site):
    """A MatMul leaves out its last term."""
    if site.kind == "node" and site.op_type == "MatMul":
        left, right = site.inputs.values()
        for name, values in site.outputs.items():
            site.outputs[name] = (left[..., :-1] @ right[..., :-1, :]).astype(values.dtype)


def slice_with_steps_begins_late(site):
    """A Slice with steps begins one element late."""
    if site.kind == "node" and site.op_type == "Slice":
        data = next(iter(site.inputs.values()))
        for name, values in site.outputs.items():
            if values.shape[2] * 2 == data.shape[2]:
                site.outputs[name] = data[:, :, 1::2]
