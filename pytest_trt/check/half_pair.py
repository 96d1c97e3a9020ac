"""Two engines of one model on the same inputs, in FP32 and in 16 bits, and every tensor that they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_trt.check.feeds import Profile, check_feeds, check_profile, profile_for
from pytest_trt.check.graph import Graph, load_model
from pytest_trt.check.half_range import Forecast, activations, forecast, twin_of
from pytest_trt.check.subject import Subject
from pytest_trt.errors import PrecisionError, UnsupportedError
from pytest_trt.numerics.formats import Array
from pytest_trt.precision import Prepared, prepare
from pytest_trt.runtime.debug import show_tensors

if TYPE_CHECKING:
    from pytest_trt.check.workbench import Workbench

MARKED, SHOWN = "marked outputs", "debug tensors"


@dataclass(frozen=True)
class Pair:
    """What two engines of one model gave on the same inputs.

    Attributes
    ----------
    graph : Graph
        The caller's model.
    feeds : mapping of str to ndarray
        Its inputs.
    want, got : mapping of str to ndarray
        Every tensor that was seen, by its name in the caller's model: in FP32 with TF32 off, and in 16 bits.
    forecast : Forecast
        What ONNX Runtime says of the same model and inputs.
    precision : str
        `fp16` or `bf16`.
    seen : str
        `marked outputs`: every inner tensor is an output, which keeps TensorRT from fusing; or `debug tensors`: the engine is
        fused as ever, and what lies between its layers was seen.
    strong, strict : bool
        The types of the graph decide; they do, or every layer had to obey the type that was asked for.
    unseen : tuple of str
        Tensors of the model that the 16-bit engine did not show.
    kept : frozenset of str
        Tensors in FP32 because ONNX has no such operator in the type.
    title : str
        Who executed.
    """

    graph: Graph
    feeds: Mapping[str, Array]
    want: Mapping[str, Array]
    got: Mapping[str, Array]
    forecast: Forecast
    precision: str
    seen: str
    strong: bool
    strict: bool
    unseen: tuple[str, ...]
    kept: frozenset[str]
    title: str


def run_pair(
    workbench: Workbench,
    model: Any,
    inputs: Mapping[str, Any],
    *,
    precision: str = "fp16",
    profile: Profile | None = None,
    strict: bool = False,
    fused: bool = False,
) -> Pair:
    """Return what an FP32 engine and a 16-bit engine of one model give for each tensor.

    Parameters
    ----------
    workbench : Workbench
    model : path, bytes or onnx.ModelProto
        In FP32.
    inputs : mapping of name to array
    precision : str
        `fp16` or `bf16`.
    profile : mapping of name to (min, opt, max), optional
        Default: around the inputs.
    strict : bool
        Where builder flags decide on types: every layer has to obey. Else TensorRT may keep a layer in FP32, and likes to do so
        where an output asks for FP32.
    fused : bool
        Look at the tensors between the layers of the fused engine, where this TensorRT shows them.

    Raises
    ------
    PrecisionError
        The precision has no 16 bits, the model has no FP32 tensor, or TF32 did not stay off.
    UnsupportedError
        TensorRT refused a build, or shows no debug tensors.
    """
    if precision not in ("fp16", "bf16"):
        raise PrecisionError(f"no report on {precision}", why="it compares fp16 or bf16 with fp32")
    rt = workbench.executor
    source = Graph(load_model(model))
    feeds = check_feeds(source, inputs)
    sizes = {name: values.shape for name, values in feeds.items()}
    profile = profile_for(source, sizes, check_profile(source, profile))
    names = tuple(name for name in activations(source) if source.kinds[name] == "fp32")
    if not names:
        raise PrecisionError(
            "the model has no tensor in fp32 to compare with",
            mend="give the model in fp32: the report lowers it",
        )
    want = _run_wide(workbench, source, names, feeds, profile)
    with _lowered(workbench, source, precision, profile, strict=strict) as low:
        prepared = low.prepared
        built = Graph(prepared.model)
        twins = {name: twin for name in names if (twin := twin_of(name, built.producer)) is not None}
        got = _run_fused(low, feeds) if fused else _run_marked(low, feeds, tuple(twins.values()), built)
    back = {name: got[twin] for name, twin in twins.items() if twin in got}
    fitting = {name: values for name, values in back.items() if values.shape == want[name].shape}
    return Pair(
        graph=source,
        feeds=feeds,
        want={name: want[name] for name in fitting},
        got=fitting,
        forecast=forecast(source, feeds, precision),
        precision=precision,
        seen=SHOWN if fused else MARKED,
        strong=prepared.strong,
        strict=prepared.strong or prepared.constraints == "obey",
        unseen=tuple(name for name in names if name not in fitting),
        kept=_kept(source, prepared),
        title=rt.title,
    )


def _lowered(
    workbench: Workbench, source: Graph, precision: str, profile: Profile | None, *, strict: bool
) -> Subject:
    """Return the model in 16 bits; with `strict`, no layer is free to be in FP32."""
    low = workbench.subject(source.model, precision, profile)
    if not strict or low.prepared.strong or low.prepared.constraints == "obey":
        return low
    prepared = prepare(source.model, precision, strong=False, constraints="obey")
    return Subject(low.rt, prepared, profile, allow=low.allow)


def _run_wide(
    workbench: Workbench,
    source: Graph,
    names: tuple[str, ...],
    feeds: Mapping[str, Array],
    profile: Profile | None,
) -> dict[str, Array]:
    """Return every tensor of the FP32 engine; TF32 has to be off, though TensorRT's default is on."""
    wide = workbench.subject(source.model, "fp32", profile)
    with _marked(wide, names, source) as marked:
        if "TF32" in marked.plan.flags:
            raise PrecisionError(
                f"TF32 is on in the FP32 reference: {wide.rt.title} did not clear the flag",
                why="TF32 keeps 10 bits of fraction, as fp16 does: the difference would say nothing",
            )
        return marked.run(feeds)


def _kept(source: Graph, prepared: Prepared) -> frozenset[str]:
    """Return the tensors of nodes that stay in FP32; a node without a name was given one, so its tensor tells."""
    typed = Graph(prepared.matched)
    names = {name for node in typed.nodes if node.name in prepared.kept_fp32 for name in node.outputs}
    return frozenset(name for name in source.producer if twin_of(name, typed.producer) in names)


def _marked(subject: Subject, names: tuple[str, ...], built: Graph) -> Subject:
    return subject.with_outputs(tuple(name for name in names if name not in built.outputs))


def _run_marked(
    subject: Subject, feeds: Mapping[str, Array], names: tuple[str, ...], built: Graph
) -> dict[str, Array]:
    with _marked(subject, names, built) as marked:
        return marked.run(feeds)


def _run_fused(subject: Subject, feeds: Mapping[str, Array]) -> dict[str, Array]:
    shown = subject.with_tensors_shown()
    if shown is None:
        raise UnsupportedError(
            f"{subject.rt.title} does not show tensors without breaking fusion",
            why="mark_unfused_tensors_as_debug_tensors came with TensorRT 10.12",
            mend="fused=False: every tensor is marked as an output",
        )
    with shown, show_tensors(shown.session) as seen:
        outputs = shown.run(feeds)
        return {**seen, **outputs}
