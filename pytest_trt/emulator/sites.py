"""Points at which a fault may change what the emulator does.

A fault is a callable `fault(site)`. It changes arrays of the site in place, puts others in their place, or sets an
attribute. What it returns counts at three kinds: False at `enqueue` is a failed enqueue, False at `execute` a run that fails
on its stream, a number at `time` is the time that is reported. At `execute`, masked elements of an output (`numpy.ma`) are
not written: the buffer keeps what it held. At `build`, `load` and `refit`, a fault that sets `site.plan` (at `refit`,
`site.weights`) to None makes the call fail as it fails in TensorRT: with None or False and a logged error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.attributes import filled
from pytest_trt.emulator.constants import Constants
from pytest_trt.emulator.lowering import Step
from pytest_trt.errors import UsageError

Fault = Callable[[Any], Any]


class Site:
    """One point; `kind` says which fields it has.

    Attributes
    ----------
    kind : str
        `enqueue`, `node`, `execute`, `debug`, `build`, `cache`, `stream`, `weights`, `load`, `refit`, `calibrate`, `time`, `log`,
        `plugin`, `profile`.
    precision : str
        The type that works here: of the node, else of the engine.
    gpu : str
        The GPU class that is emulated.
    rng : numpy.random.Generator
        Repeatable from the seed of the emulator.
    memory : dict
        What a fault wants to remember from one site to the next; one for each emulated TensorRT.

    Notes
    -----
    At `node`, `inputs` holds arrays in storage type, constants included: a quantized convolution has its int8 activations
    and weights under the names of the integer tensors. `outputs` are in storage type; bfloat16 values travel as float32
    arrays. A quantized convolution stores float32 `s_x * s_w * acc + b`; the QuantizeLinear behind it is a node of its
    own, with the quotient before rounding in `exact`. `readers` maps each output to the operators that read it, none where it
    is an output of the network.

    `enqueue` is visited when a run is asked for, before anything is computed: `synchronous` tells `execute_v2`, `missing` is
    the list of tensors that lack an address (one that a fault takes out gets memory of its own), `waits` set to True makes the
    enqueue wait for the stream, `debug_sync` is that of the context and `logs_layers` whether each layer is logged,
    `event_fires` says when the event of consumed inputs does: at `read`, at `enqueue` or `never`. `captures` tells that the
    stream is recorded for a graph; with `records` set to False this run is left out of it. `debug` is visited for each
    debug tensor of a run that somebody listens to: its `name`, whether it `is_on`, its `values`, those of `others`, and in
    `calls` how often the listener is called.

    At `build`, `profiles` holds one table of (min, opt, max) a profile, by input name; a layer set to `fp32` or `tf32` in
    `layers` is built in that type. `tactics` says what was picked for each layer that multiplies, `offered` the bytes of scratch
    by tactic that each had to choose from; a fault may put another one of these. `workspace_limit` is None where none was
    set, `cache_hits` counts layers whose times a timing cache knew, `steering` holds what else was set in the configuration.
    At `cache`, a timing cache is attached: it has the `header`, and in `accepted` whether it fits. At `stream`, `plan` is what
    the writer is given. At `weights`, external data of a model are read: the `tensor`, its `size` in bytes, its `location`,
    the `path` of the model, the `data`, and in `refusal` why there are none.

    `calibrate` is visited up to three times. At stage `cache`
    it has the bytes of the `cache` that a calibrator offers, empty for none, and the `header` that a cache has to have. At stage
    `table`, before the calibrator is given the cache to keep, it has the `algorithm`, how many `batches` were read, and in
    `reach` the largest magnitudes of each batch by tensor. At stage `engine` it has the scales that the engine will use, and
    in `missing` the tensors that lack one. A cache that was read, and ranges that were set, do not come by `table`.
    `time` is visited for each layer of a run with a profiler and, with `failed` True, for each layer of a run that was not
    enqueued: what a fault returns there is reported, else nothing is. In modelled time it is visited for each run, and what a
    fault returns is also what events tell.

    `profile` is visited before the times of a run are reported: `times` are pairs of layer name and milliseconds, and `emits`
    says whether they are reported now, as the enqueue was asked to, or kept until `report_to_profiler`.

    `log` is visited for each line that is said: `severity`, `text`, and for errors the `code` and the C++ `function` that
    reports it. `to` says where the line goes, once for each mention: `logger`, `recorder` (errors only). `is_second` tells
    whether the object was made with another logger than the one that was registered first, `thread_id` who says it.

    `plugin` is visited at each `stage` in the life of a Python plugin, with its `node_name`. `serialize`: `plugin` and the
    `fields` that go into the plan, as (name, type, hexadecimal bytes, size), of a V2 plugin one without a name. `load`: the
    `creator`, None where none is found. `attach`, for a new context: the engine's `plugin`; what is put into `attached` runs in
    place of a clone. `enqueue`: the `plugin` that runs. `terminate` and `destroy`: the `plugin` to which this was done just
    now.
    """

    def __init__(
        self,
        kind: str,
        precision: str,
        gpu: str,
        rng: np.random.Generator | Sequence[int],
        **fields: Any,
    ) -> None:
        self.kind = kind
        self.precision = precision
        self.gpu = gpu
        self._rng = rng
        self.__dict__.update(fields)

    @property
    def rng(self) -> np.random.Generator:
        """The random numbers of the site; made when they are asked for, which few faults do."""
        if not isinstance(self._rng, np.random.Generator):
            self._rng = np.random.default_rng(self._rng)
        return self._rng

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a site of kind {self.__dict__.get('kind')!r} has no field {name!r}")

    def __repr__(self) -> str:
        return (
            f"<Site {', '.join(f'{k}={v!r}' for k, v in self.__dict__.items() if isinstance(v, (str, int)))}>"
        )


class Faults:
    """The faults of one emulated TensorRT.

    Parameters
    ----------
    faults : sequence of callable
        Called in order at each site.
    gpu : str
        The GPU class.
    seed : int
        Of the random numbers that the sites offer.
    """

    def __init__(self, faults: Sequence[Fault], gpu: str, seed: int) -> None:
        self._faults = tuple(faults)
        self._gpu = gpu
        self._seed = (seed,) if seed >= 0 else (-seed, 1)  # numpy takes no negative seeds
        self._count = 0
        self._memory: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._faults)

    def visit(self, kind: str, precision: str, **fields: Any) -> tuple[Site, list[Any]]:
        """Return the site after every fault has seen it, and what each returned."""
        with self._lock:
            # Nothing is computed at an enqueue: what faults draw later does not depend on how often one was asked.
            self._count += kind != "enqueue"
            seed = [*self._seed, self._count, *([1] if kind == "enqueue" else [])]
        site = Site(kind, precision, self._gpu, seed, memory=self._memory, **fields)
        return site, [fault(site) for fault in self._faults]

    def hear(self, kind: str, **fields: Any) -> Site:
        """Return a `log` or `profile` site after every fault has seen it; the random numbers of the others stay as they are."""
        site = Site(kind, "", self._gpu, self._seed, memory=self._memory, **fields)
        for fault in self._faults:
            fault(site)
        return site

    def timed(self, precision: str, seconds: float, **fields: Any) -> float:
        """Return the seconds that are reported after every fault has seen a `time` site."""
        _, answers = self.visit("time", precision, seconds=seconds, **fields)
        numbers = [a for a in answers if isinstance(a, (int, float)) and not isinstance(a, bool)]
        return float(numbers[-1]) if numbers else seconds


def _shown(array: NDArray[Any], elem: int) -> NDArray[Any]:
    if elem == dtypes.FLOAT16 and array.dtype == np.float32:
        return dtypes.to_stored(array, elem)
    return np.array(array)


def node_fields(
    step: Step, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]], exact: dict[str, NDArray[Any]],
    constants: Constants, elems: dict[str, int],
) -> dict[str, Any]:  # fmt: skip
    """Return the fields of a `node` site for one step of a run."""
    node = step.node
    shown: dict[str, NDArray[Any]] = {}
    for name, source in step.sources.items():
        array = inputs.get(source)
        if array is None:
            array = constants.folded(source)
        if array is not None:
            elem = elems.get(source, 0)
            shown[name] = _shown(array, elem)
    arrays = list(shown.values())
    names = list(shown)
    scales: dict[str, NDArray[Any]] = {}
    if step.product is not None:
        scales = {step.product.x: step.product.x_scale, step.product.w: step.product.w_scale}
    elif node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(names) > 1:
        scales = {node.output[0]: shown[names[1]]}
    before = {name: exact[name] if name in exact else np.array(array) for name, array in outputs.items()}
    if node.op_type == "QuantizeLinear" and len(arrays) > 1:
        before = {node.output[0]: _quotient(node, arrays[0], arrays[1])}
    return {
        "op_type": node.op_type,
        "node_name": node.name,
        "attributes": filled(
            node, arrays[0].shape if arrays else (), arrays[1].shape if len(arrays) > 1 else None
        ),
        "inputs": shown,
        "outputs": {name: _shown(array, step.elems.get(name, 0)) for name, array in outputs.items()},
        "exact": before,
        "scales": scales,
        "readers": dict(step.readers),
    }


def _quotient(node: Any, values: NDArray[Any], scale: NDArray[Any]) -> NDArray[np.float32]:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if scale.size > 1:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
    return np.asarray(values.astype(np.float32) / scale.astype(np.float32), np.float32)


def absorb(site: Site, step: Step, outputs: dict[str, NDArray[Any]]) -> None:
    """Take what the faults left in `site.outputs` over into the carried outputs of the run.

    Raises
    ------
    UsageError
        A fault gave an output another shape or dropped one.
    """
    for name, array in outputs.items():
        given = site.outputs.get(name)
        if given is None or np.shape(given) != array.shape:
            raise UsageError(
                f"a fault left output {name!r} of node {step.node.name!r} with shape {np.shape(given)}",
                why=f"the node gives shape {array.shape}",
                mend="change values in place, or put an array of the same shape in",
            )
        stored = np.asarray(given)
        if step.elems.get(name) == dtypes.FLOAT16 and array.dtype == np.float32:
            stored = stored.astype(np.float16)
        outputs[name] = stored.astype(array.dtype)
