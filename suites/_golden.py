"""The canonical cases whose outputs are kept from version to version: never drawn, so that a golden keeps its meaning."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_trt.strategies import Case

# A case may be added; one that is changed makes all its goldens unusable.
CASES: Mapping[str, str] = {
    "conv2d-3x3": "conv2d-n2-c8-o16-i8x7-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-w_{w}-s1",
    "conv2d-strided": "conv2d-n2-c16-o9-i9x8-k3x3-t2x2-p0x1x1x0-d1x1-g1-b1-q1x2x4-w_{w}-s2",
    "conv2d-dilated-groups": "conv2d-n1-c16-o16-i8x8-k3x3-t1x1-p2x2x2x2-d2x2-g4-b1-w_{w}-s3",
    "conv2d-depthwise": "conv2d-n2-c33-o33-i5x6-k3x3-t1x1-p1x1x1x1-d1x1-g33-b1-w_{w}-s4",
    "conv2d-pointwise": "conv2d-n2-c64-o32-i4x4-k1x1-t1x1-p0x0x0x0-d1x1-g1-b1-w_{w}-s5",
    "conv1d": "conv1d-n3-c8-o12-i19-k4-t3-p2x0-d2-g4-b1-w_{w}-s6",
    "conv3d": "conv3d-n2-c4-o8-i4x5x3-k2x3x2-t1x2x1-p0x1x0x1x0x1-d1x1x1-g1-b1-w_{w}-s7",
    "deconv2d": "conv_transpose2d-n2-c8-o7-i4x3-k3x3-t2x3-p0x1x1x0-d1x1-g1-b1-e1x2-w_{w}-s8",
    "average-pool": "average_pool2d-n2-c9-i8x6-k2x2-t2x2-p0x0x0x0-z0-y1-w_int-s0",
    "max-pool": "max_pool2d-n3-c8-i6x6-k3x3-t2x2-p1x0x0x1-z1-y0-w_int-s0",
    "gemm": "gemm-n8-k64-o33-ta0-tb1-al4-be4-b1-w_{w}-s9",
    "matmul": "matmul-n3-m8-k64-o31-i1-w_int-s0",
    "conv-bn-relu": "conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_{w}-s10",
    "conv-add-relu": "conv_add_relu-n3-c9-o16-i4x4-k3-lo0-hi1-w_{w}-s11",
    "depthwise-separable": "depthwise_separable-n2-c16-o9-i5x5-k3-lo0-hi1-w_{w}-s12",
    "concat-views": "concat_views-n2-c8-o8-i4x4-k3-lo0-hi1-w_{w}-s13",
    "matmul-add-clip": "matmul_add_clip-n9-c33-o17-k1-lo0-hi6-w_{w}-s14",
    "layer-norm": "layer_norm-n3-c7x33-f2-w_real-s3",
}
# Weights and inputs are both whole numbers, small enough for exact sums in FP16 and BF16 too; or both are not.
KINDS = ("integers", "floats")
_LARGEST = 2
# The scale of INT8 inputs is a power of two.
_REACH = 127.0 / 128.0


@dataclass(frozen=True)
class Canonical:
    """One canonical case on one kind of data."""

    name: str
    kind: str

    @property
    def title(self) -> str:
        """What the golden is found by."""
        return f"{self.name}-{self.kind}"

    @property
    def case(self) -> Case:
        """Operator, shapes and weights."""
        return Case.parse(CASES[self.name].format(w="int" if self.kind == "integers" else "real"))

    def inputs(self) -> dict[str, np.ndarray]:
        """Return its data; the same on every machine and with every seed."""
        # Of numpy's generators only the bits of MT19937 are promised never to change.
        rng = np.random.RandomState(zlib.crc32(self.title.encode()))
        made = {}
        for name, shape in self.case.input_shapes.items():
            bits = rng.randint(0, 2**16, shape).astype(np.int64)
            if self.kind == "integers":
                values = (bits % (2 * _LARGEST + 1) - _LARGEST).astype(np.float64)
            else:
                values = (bits - 2**15 + 0.5) / 2**15
            made[name] = values.astype(np.float32)
        return made

    def calibration(self) -> list[dict[str, np.ndarray]]:
        """Return what INT8 scales come from: the inputs, and the same range in every version."""
        fixed = {name: np.clip(values, -_REACH, _REACH) for name, values in self.inputs().items()}
        for values in fixed.values():
            values.reshape(-1)[:2] = _REACH, -_REACH
        return [fixed]

    def arguments(self, precision: str) -> dict[str, Any]:
        """Return what `trt_golden` is called with besides the name."""
        case = self.case
        arguments: dict[str, Any] = {"model": case.model(), "inputs": self.inputs(), "profile": case.profile}
        if precision == "int8":
            arguments["calibration"] = self.calibration()
        return arguments


CANONICAL = tuple(Canonical(name, kind) for name in CASES for kind in KINDS)
