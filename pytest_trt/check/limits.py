"""The limits of a model's outputs for given inputs, worked out when they are asked for; nothing is run or judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.final import FinalLimits
from pytest_trt.check.layers import is_deep
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array


class OutputLimits(Mapping[str, Bound]):
    """The widest limits of each output that has some: what another run of the engine, or another engine, may give.

    Of a deep network they are those of the errors of all layers together.

    Parameters
    ----------
    subject : Subject
    feeds : mapping of str to ndarray
        The inputs, of the model's types.
    rungs : tuple of str
        Rungs of the ladder that pass.
    """

    def __init__(self, subject: Subject, feeds: Mapping[str, Array], rungs: tuple[str, ...]) -> None:
        self.subject, self.feeds, self._rungs = subject, feeds, rungs
        self._known: dict[str, Bound] = {}

    @property
    def certified(self) -> frozenset[str]:
        """Names of the outputs of which every element has one admissible value, if it is added up directly."""
        if self._is_deep:
            return frozenset()
        direct = self._admissible.on("direct").tensors
        return frozenset(name for name in self._names if direct[name].certified == direct[name].mid.size)

    def __getitem__(self, name: str) -> Bound:
        if self._is_deep:
            return self._deep[name]
        if name not in self._names:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._admissible.widest(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._deep if self._is_deep else self._names)

    def __len__(self) -> int:
        return len(self._deep if self._is_deep else self._names)

    @cached_property
    def _is_deep(self) -> bool:
        return is_deep(self.subject.graph)

    @cached_property
    def _admissible(self) -> Admissible:
        subject = self.subject
        return Admissible(subject.graph, self.feeds, subject.contract, self._rungs)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        tensors = self._admissible.on("direct").tensors
        return tuple(name for name in self.subject.graph.outputs if name in tensors)

    @cached_property
    def _deep(self) -> dict[str, Bound]:
        subject = self.subject
        final = FinalLimits(
            subject.graph, self.feeds, subject.contract, self._rungs, subject.prepared.precision
        )
        return final.limits()
