"""What a tactic name says of the algorithm: which rungs of the ladder an engine may need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_trt.precision.proof import is_working
from pytest_trt.records import LayerInfo

# Rungs that stand for another algorithm than direct summation, by the words that name them in tactic names.
_WORDS = {
    "splitk": ("splitk", "split_k", "streamk", "stream_k"),
    "winograd": ("winograd",),
    "fft": ("fft",),
}
_DIRECT = ("direct", "implicit_gemm", "implicit_precomp", "xmma_fprop", "xmma_gemm", "conv_depthwise")


def rungs_of(layers: Iterable[LayerInfo], rungs: Sequence[str], *, asked: bool) -> tuple[str, ...]:
    """Return the rungs that may admit a result of an engine.

    Parameters
    ----------
    layers : iterable of LayerInfo
        The engine's layers, with the tactic names that the inspector gives (an empty name says nothing).
    rungs : sequence of str
        Those of the settings.
    asked : bool
        The user named the rungs: they all stay.

    Notes
    -----
    An algorithm's rung is left out when every layer that multiplies and accumulates names a tactic, and none of them names
    that algorithm while all of them name a direct one.
    """
    names = [layer.tactic.lower() for layer in layers if is_working(layer)]
    if asked or not names:
        return tuple(rungs)
    direct = all(any(word in name for word in _DIRECT) for name in names)
    kept = []
    for rung in rungs:
        words = _WORDS.get(rung)
        if words is None or not direct or any(word in name for name in names for word in words):
            kept.append(rung)
    return tuple(kept)
