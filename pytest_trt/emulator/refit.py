"""The refitter: other weights for a built engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.bound import Threaded
from pytest_trt.emulator.core import Core
from pytest_trt.emulator.reporting import Reporter
from pytest_trt.emulator.values import Weights

_ROLES = {
    "Conv": ("KERNEL", "BIAS"),
    "ConvTranspose": ("KERNEL", "BIAS"),
    "BatchNormalization": ("SCALE", "SHIFT"),
}


class Refitter(Threaded):
    """Changes the weights of a refittable engine."""

    _core: Core
    _reporter: Reporter

    def __init__(self, engine: Any, logger: Any) -> None:
        self._reporter = self._host.reporter(self, logger, "createInferRefitter")
        self._logger = logger
        self._engine = engine
        self._core = engine._core
        self._given: dict[str, NDArray[Any]] = {}
        self._threads = 1
        self._validate = True
        if not self._core.settings["refit"]:
            self._reporter.error("INVALID_ARGUMENT", "createInferRefitter", "The engine is not refittable")

    @property
    def weights_validation(self) -> bool:
        """Whether weights that are not finite are refused."""
        return self._validate

    @weights_validation.setter
    def weights_validation(self, value: bool) -> None:
        self._validate = bool(value)

    def _roles(self) -> list[tuple[str, str, str]]:
        names = set(self._core.refittable())
        found = []
        for node in self._core.graph.nodes:
            roles = _ROLES.get(node.op_type)
            for role, name in zip(roles or (), list(node.input)[1:3], strict=False):
                if name in names:
                    found.append((node.name, role, name))
        return found

    def _role(self, name: str) -> Any:
        return self._host.enum("WeightsRole")._table[name]

    def get_all(self) -> tuple[list[str], list[Any]]:
        """Return (layer names, roles) of the weights that layers own."""
        rows = self._roles()
        return [row[0] for row in rows], [self._role(row[1]) for row in rows]

    def get_missing(self) -> tuple[list[str], list[Any]]:
        """Return two empty lists: any subset of the weights can be changed."""
        return [], []

    def get_all_weights(self) -> list[str]:
        """Return the names of all refittable weights."""
        return self._core.refittable()

    def get_missing_weights(self) -> list[str]:
        """Return an empty list: any subset of the weights can be changed."""
        return []

    def _array(self, name: str) -> NDArray[Any]:
        return self._given.get(name, self._core.weights()[name])

    def get_named_weights(self, weights_name: str) -> Any:
        """Return the weights set for a name, or None."""
        if weights_name not in self._given:
            return None
        return self._host._made[Weights](self._given[weights_name])

    def get_weights_prototype(self, weights_name: str) -> Any:
        """Return weights of the right type and count for a name, or None with a logged error."""
        if weights_name not in self._core.refittable():
            self._reporter.error(
                "INVALID_ARGUMENT", "IRefitter::getWeightsPrototype", f"unknown weights {weights_name}"
            )
            return None
        return self._host._made[Weights](np.zeros_like(self._core.weights()[weights_name]))

    def get_weights_location(self, weights_name: str) -> Any:
        """Return HOST."""
        return self._host.enum("TensorLocation")._table["HOST"]

    def unset_named_weights(self, weights_name: str) -> bool:
        """Forget the weights set for a name."""
        return self._given.pop(weights_name, None) is not None

    def set_named_weights(self, name: str, weights: Any, location: Any = None) -> bool:
        """Set weights by name; False with a logged error for a wrong name, type, count or value."""
        where = "IRefitter::setNamedWeights"
        if name not in self._core.refittable():
            self._reporter.error("INVALID_ARGUMENT", where, f"{name} names no refittable weights")
            return False
        old = self._core.weights()[name]
        new = weights if isinstance(weights, np.ndarray) else weights.numpy()
        if new.size != old.size or new.dtype != old.dtype:
            self._reporter.error(
                "INVALID_ARGUMENT",
                where,
                f"{name}: {new.size} of {new.dtype}, expected {old.size} of {old.dtype}",
            )
            return False
        if self._validate and new.dtype.kind == "f" and not np.isfinite(new).all():
            self._reporter.error("INVALID_ARGUMENT", where, f"{name}: weights are not finite")
            return False
        self._given[name] = np.array(new)
        return True

    def set_weights(self, layer_name: str, role: Any, weights: Any) -> bool:
        """Set weights by layer and role; False with a logged error if there are none."""
        for layer, found, name in self._roles():
            if layer == layer_name and found == role.name:
                return self.set_named_weights(name, weights)
        self._reporter.error(
            "INVALID_ARGUMENT", "IRefitter::setWeights", f"layer {layer_name} has no refittable {role.name}"
        )
        return False

    def refit_cuda_engine(self) -> bool:
        """Put the weights into the engine; False with a logged error if it is not refittable."""
        if not self._core.settings["refit"]:
            self._reporter.error(
                "INVALID_STATE", "IRefitter::refitCudaEngine", "The engine is not refittable"
            )
            return False
        weights = dict(self._given)
        if self._host.faults:
            site, _ = self._host.faults.visit("refit", str(self._core.settings["precision"]), weights=weights)
            if site.weights is None:
                self._reporter.error("FAILED_EXECUTION", "IRefitter::refitCudaEngine", "refit failed")
                return False
            weights = site.weights
        self._core.refit(weights)
        return True

    def refit_cuda_engine_async(self, stream_handle: int) -> bool:
        """Wait for the stream, then put the weights into the engine."""
        self._host.device.drain(stream_handle)
        return self.refit_cuda_engine()

    def release_refit_resources(self) -> bool:
        """Return True: nothing is kept for refitting."""
        return True
