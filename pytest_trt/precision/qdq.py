"""Q/DQ nodes, and the initializers behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.precision.graph import Names


class PairMaker:
    """Makes symmetric INT8 pairs of QuantizeLinear and DequantizeLinear, with names that a graph does not have.

    Parameters
    ----------
    names : Names
        Of the graph that the nodes are for.
    mark : str
        Stands in the names of scales and zero points.

    Attributes
    ----------
    tensors : list of TensorProto
        The initializers that the nodes need.
    """

    def __init__(self, names: Names, mark: str = "") -> None:
        self.tensors: list[TensorProto] = []
        self._names, self._mark = names, mark

    def pair(self, source: str, target: str, scale: np.ndarray, stem: str) -> list[NodeProto]:
        """Return the two nodes that quantise `source` and give `target`; new names start with `stem`."""
        params, middle = self.parameters(stem, scale), self._names.fresh(f"{stem}_q")
        return [
            self._node("QuantizeLinear", [source, *params], middle),
            self._node("DequantizeLinear", [middle, *params], target),
        ]

    def weight(
        self, name: str, integers: np.ndarray | None, scale: np.ndarray, axis: int | None, stem: str
    ) -> tuple[str, list[NodeProto]]:
        """Return the dequantised form of a weight tensor and the nodes that make it.

        Parameters
        ----------
        name : str
            The float32 initializer: what is quantised where there are no `integers`.
        integers : int8 ndarray, optional
            The quantised weights, stored in its stead.
        scale : ndarray
            0-d, or 1-d along `axis`.
        """
        params, made = self.parameters(stem, scale), self._names.fresh(f"{stem}_dq")
        nodes = []
        if integers is None:
            stored = self._names.fresh(f"{stem}_q")
            nodes.append(self._node("QuantizeLinear", [name, *params], stored, axis))
        else:
            stored = self._names.fresh(f"{stem}_int8")
            self.store(stored, integers)
        nodes.append(self._node("DequantizeLinear", [stored, *params], made, axis))
        return made, nodes

    def parameters(self, stem: str, scale: np.ndarray) -> list[str]:
        """Return the names of a scale and of its zero point, 0, both stored."""
        made = [self._names.fresh(f"{stem}{self._mark}_scale"), self._names.fresh(f"{stem}{self._mark}_zero")]
        self.store(made[0], scale)
        self.store(made[1], np.zeros(scale.shape, np.int8))
        return made

    def store(self, name: str, array: np.ndarray) -> None:
        """Keep an array as an initializer."""
        whole = np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes 0-d ones 1-d
        self.tensors.append(numpy_helper.from_array(whole, name))

    def _node(self, kind: str, inputs: list[str], output: str, axis: int | None = None) -> NodeProto:
        by_axis: dict[str, Any] = {} if axis is None else {"axis": axis}
        return helper.make_node(kind, inputs, [output], name=self._names.fresh(f"{kind}_{output}"), **by_axis)
