"""What is asked of a builder, and the key under which its plan is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_trt.errors import ModelError
from pytest_trt.runtime.external import digest_weights
from pytest_trt.runtime.profiles import Profile

if TYPE_CHECKING:
    from pytest_trt.runtime.load import Runtime

SCHEMA = 1  # Counts up when a plan that `build` makes of the same request would differ.


@dataclass(frozen=True)
class BuildRequest:
    """All that decides what is built.

    Attributes
    ----------
    model : bytes
        A serialised ONNX model.
    model_path : str, optional
        The file that `model` was read from: its external weights lie beside it.
    strongly_typed : bool
        The graph's types decide; else builder flags may lower the precision.
    flags, clear : frozenset of str
        Names of `BuilderFlag` to set (`FP16`) and to clear (`TF32`). A name to clear that does not exist is
        no error.
    profile : mapping of str to (min, opt, max), optional
        Shapes of the dynamic inputs.
    more_profiles : tuple of such mappings
        Further optimization profiles, indices 1 and up.
    outputs : tuple of str
        Inner tensors to mark as outputs as well.
    debug : tuple of str
        Inner tensors to mark as debug tensors, which are kept as outputs are, and shown when asked for (TensorRT 10 on).
    shown : bool
        The tensors between layers can be shown while the engine runs, where this TensorRT can: fusion stays as it is.
    workspace_bytes : int, optional
        Limit of the workspace pool.
    detailed : bool
        DETAILED profiling verbosity, so that layers can be inspected.
    sm : int, optional
        Compute capability to build for (TensorRT-RTX only); None is that of the runtime's GPU class.
    dynamic_ranges : mapping of str to float, optional
        Implicit INT8 (up to 10.x): tensor name to largest absolute value.
    dummy_range : float, optional
        For speed trials: under weak typing every tensor gets the range -r to r; under strong typing the graph has it
        already. `Plan.accurate` is False then.
    constraints : str
        Weak typing: `prefer` or `obey`, every layer gets the type of `flags`; `off`, TensorRT chooses.
    layer_types, output_types : mapping of str to str, optional
        Weak typing: the precision of single layers by name (that of the ONNX node), the types of single tensors: `fp32`,
        `fp16`, `bf16`, `int8`. They are obeyed unless `constraints` is `prefer`.
    """

    model: bytes
    strongly_typed: bool = True
    flags: frozenset[str] = frozenset()
    clear: frozenset[str] = frozenset({"TF32"})
    profile: Profile | None = None
    more_profiles: tuple[Profile, ...] = ()
    outputs: tuple[str, ...] = ()
    debug: tuple[str, ...] = ()
    shown: bool = False
    workspace_bytes: int | None = None
    detailed: bool = True
    sm: int | None = None
    dynamic_ranges: Mapping[str, float] | None = field(default=None)
    dummy_range: float | None = None
    constraints: str = "off"
    layer_types: Mapping[str, str] | None = field(default=None)
    output_types: Mapping[str, str] | None = field(default=None)
    model_path: str | None = None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **others: Any) -> BuildRequest:
        """Return the request to build a model file, which may have external weights of any size.

        Parameters
        ----------
        path : path
            Of the .onnx file.
        **others
            Further fields.

        Raises
        ------
        ModelError
            There is no such file.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(
                f"no model file {os.fspath(path)!r}", why=str(error), mend="check the path"
            ) from None
        return cls(data, model_path=os.fspath(path), **others)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """All optimization profiles, in order."""
        return (*(() if self.profile is None else (self.profile,)), *self.more_profiles)

    def key(self, rt: Runtime) -> str:
        """Return the content key of this request on a runtime, hexadecimal."""
        facts: dict[str, Any] = {
            "schema": SCHEMA,
            "plays": rt.plays,
            "product": rt.product,
            "gpu": rt.gpu.name,
            "sm": self.sm or rt.gpu.sm,
            "device": rt.device,
            "model": hashlib.sha256(self.model).hexdigest(),
            "strong": self.strongly_typed,
            "flags": sorted(self.flags),
            "clear": sorted(self.clear),
            "profiles": [
                {name: [list(map(int, shape)) for shape in shapes] for name, shapes in profile.items()}
                for profile in self.profiles
            ],
            "outputs": list(self.outputs),
            "debug": list(self.debug),
            "shown": self.shown,
            "workspace": self.workspace_bytes,
            "detailed": self.detailed,
            "ranges": sorted((self.dynamic_ranges or {}).items()),
            "dummy": self.dummy_range,
            "constraints": self.constraints,
            "layer types": sorted((self.layer_types or {}).items()),
            "output types": sorted((self.output_types or {}).items()),
        }
        if self.model_path is not None:
            facts["weights"] = digest_weights(self.model_path)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
