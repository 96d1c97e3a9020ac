"""Trained networks to test on: the three of the wheel `rapidocr-onnxruntime`, found and never imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from pytest_trt.errors import ModelError
from pytest_trt.records import Missing

_PACKAGE = "rapidocr_onnxruntime"
_MEND = "pip install rapidocr-onnxruntime==1.4.4  (Python below 3.13)"
# File, and an image size: small, and with room for a few characters.
_FILES = {
    "ocr-direction": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 48, 96)),
    "ocr-detection": ("ch_PP-OCRv4_det_infer.onnx", (3, 32, 64)),
    "ocr-recognition": ("ch_PP-OCRv4_rec_infer.onnx", (3, 48, 64)),
}
_LARGEST_BATCH = 4


@dataclass(frozen=True)
class RealModel:
    """One trained network with one image input of dynamic size.

    Attributes
    ----------
    name : str
        Stable and ASCII.
    path : Path
        Where the ONNX file is.
    image : tuple of int
        Channels, height and width that its inputs have here.
    """

    name: str
    path: Path
    image: tuple[int, ...]

    def model(self) -> ModelProto:
        """Return the network; unknown dimensions have names of their own, the batch is `N`.

        Raises
        ------
        ModelError
            The file is not ONNX.

        Notes
        -----
        As delivered two different dimensions share the name `?`. TensorRT takes equal names for equal lengths
        and refuses the profile.
        """
        try:
            model = onnx.load(str(self.path))
        except Exception as error:  # protobuf raises types of its own
            raise ModelError(
                f"{str(self.path)!r} is not an ONNX model", why=str(error), mend=_MEND
            ) from error
        for role, values in (("in", model.graph.input), ("out", model.graph.output)):
            for value in values:
                for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                    if dim.dim_value <= 0:
                        dim.dim_param = f"{role}_{axis}" if axis else "N"
        return model

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Input name to shape at a batch of two."""
        return {"x": (2, *self.image)}

    @property
    def profile(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
        """Input name to (min, opt, max) shape: batches of one to four of one image size."""
        return {"x": ((1, *self.image), (2, *self.image), (_LARGEST_BATCH, *self.image))}

    def inputs(self, batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
        """Return input name to images: dark strokes on light ground, some noise; float32 in [-1, 1].

        Noise alone leaves the detector at 1e-6 everywhere, and a reference next to zero proves nothing.
        """
        rng = np.random.default_rng(seed)
        channels, height, width = self.image
        images = np.full((batch, height, width), 0.9)
        for page in images:
            for top, left, bottom, right in _strokes(rng, height, width):
                page[top:bottom, left:right] = -0.9
        images = images[:, None] + rng.uniform(-0.1, 0.1, (batch, channels, height, width))
        return {"x": images.astype(np.float32)}


def find_models() -> tuple[RealModel, ...] | Missing:
    """Return the networks that are installed, or what is missing and how to get it."""
    try:
        spec = find_spec(_PACKAGE)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        return Missing("real models", f"the package {_PACKAGE} is not installed", _MEND)
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    absent = [name for name, _ in _FILES.values() if not (folder / name).is_file()]
    if absent:
        return Missing("real models", f"{str(folder)!r} has no {', '.join(absent)}", _MEND)
    return tuple(RealModel(name, folder / file, image) for name, (file, image) in _FILES.items())


def _strokes(rng: np.random.Generator, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes (top, left, bottom, right): upright and level strokes of a line of letters."""
    top, bottom = height // 4, height - height // 4
    for left in range(width // 12, width - width // 8, max(width // 8, 6)):
        yield top, left, bottom, left + 2
        level = int(rng.integers(top, bottom - 2))
        yield level, left, level + 2, left + int(rng.integers(4, 9))
