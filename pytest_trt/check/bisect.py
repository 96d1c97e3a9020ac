"""Where a defect sits that marking tensors makes vanish: which marks mend it, and where a network has to end to show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_trt.check.final import FinalLimits
from pytest_trt.check.graph import Graph
from pytest_trt.check.views import Views
from pytest_trt.errors import UnsupportedError
from pytest_trt.numerics.formats import Array

# Engines that a search may build; a search that needs more ends with what it has, and says so.
MOST_BUILDS = 64


@dataclass(frozen=True)
class Bisection:
    """What a search for a defect found that vanishes when tensors are marked.

    Attributes
    ----------
    wrong : str
        What is wrong with the outputs of the engine without marks, in words.
    mends : tuple of str
        The tensors whose marking alone makes the outputs right; empty where no set of marks does. None of them can be left out
        unless `complete` is False.
    earliest : str
        A tensor at which a network that ends there is wrong, while each that ends at what it is made from is right; empty if
        there is none.
    layer : str
        The layer that makes it.
    builds : int
        How many engines the search built.
    complete : bool
        False where it came to its end before it was done.
    """

    wrong: str
    mends: tuple[str, ...] = ()
    earliest: str = ""
    layer: str = ""
    builds: int = 0
    complete: bool = True

    def describe(self) -> list[str]:
        """Return the search in words, a fact a line."""
        lines = [f"without marks: {self.wrong}"] if self.wrong else []
        if self.mends:
            names = " and ".join(repr(name) for name in self.mends)
            breaks = "breaks" if len(self.mends) == 1 else "break together"
            lines.append(
                f"marking {names} makes the output right: the defect is in a fusion that {names} {breaks}"
            )
        if self.earliest:
            lines.append(
                f"a network that ends at {self.earliest!r} is wrong there, and right at all that it is made from: "
                f"layer {self.layer!r}, or what is fused into it"
            )
        lines.append(f"{self.builds} engines were built to find that")
        if not self.complete:
            lines.append(f"the search was given up at {MOST_BUILDS} engines")
        return lines


class Search:
    """Looks for what makes the outputs of an engine wrong.

    Parameters
    ----------
    views : Views
    limits : FinalLimits
        Of the whole network.
    is_wrong : callable
        Given marks, what is wrong with the engine that has them, in words; empty if nothing is.
    judge : callable
        Given a typed graph and its inputs, the limits of its outputs.
    """

    def __init__(
        self,
        views: Views,
        is_wrong: Callable[[tuple[str, ...]], str],
        judge: Callable[[Graph, Mapping[str, Array]], FinalLimits],
    ) -> None:
        self._views, self._is_wrong, self._judge = views, is_wrong, judge
        self._ends: dict[str, bool] = {}
        self._first = views.builds

    @property
    def _spent(self) -> bool:
        return self._views.builds - self._first >= MOST_BUILDS

    def run(self, names: Sequence[str], wrong: str, *, ends: bool) -> Bisection:
        """Return what marks mend the outputs and, with `ends`, where a network has to end to be wrong.

        Parameters
        ----------
        names : sequence of str
            Tensors that can be marked, in graph order; all of them together make the outputs right.
        wrong : str
            What is wrong without marks.
        """
        mends = self._fewest(tuple(names))
        earliest = self._earliest(names) if ends else ""
        node = self._views.graph.producer.get(earliest)
        return Bisection(
            wrong,
            mends,
            earliest,
            "" if node is None else node.name or f"{node.op} {earliest}",
            self._views.builds - self._first,
            not self._spent,
        )

    def _mends(self, names: tuple[str, ...]) -> bool:
        try:
            return not self._is_wrong(names)
        except UnsupportedError:  # TensorRT takes not every set of marks
            return False

    def _fewest(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return marks that mend together, of which none can be left out; all of them mend.

        The last tensor of the shortest beginning that mends is needed; with it kept, the search goes on in what is before it.
        """
        needed: tuple[str, ...] = ()
        pool, enough = names, names
        while pool and not (needed and self._mends(needed)):
            low, high = 0, len(pool)
            while high - low > 1 and not self._spent:
                middle = (low + high) // 2
                if self._mends(pool[:middle] + needed):
                    high = middle
                else:
                    low = middle
            enough = pool[:high] + needed
            if self._spent:
                return enough
            needed, pool = (pool[high - 1], *needed), pool[: high - 1]
        return needed if pool or not needed or self._mends(needed) else enough

    def _is_end_wrong(self, tensor: str) -> bool:
        if tensor not in self._ends:
            try:
                graph, feeds, got = self._views.cut(tensor)
            except UnsupportedError:  # what does not build there shows nothing
                self._ends[tensor] = False
            else:
                self._ends[tensor] = bool(self._judge(graph, feeds).describe_wrong(got))
        return self._ends[tensor]

    def _earliest(self, names: Sequence[str]) -> str:
        """Return a tensor that is wrong as the end of a network while those before it are right."""
        graph = self._views.graph
        ends = [
            name for node in graph.nodes for name in node.outputs if name in names or name in graph.outputs
        ]
        low, high = -1, len(ends) - 1
        while high - low > 1 and not self._spent:
            middle = (low + high) // 2
            if self._is_end_wrong(ends[middle]):
                high = middle
            else:
                low = middle
        # On a network with branches the one before in order need not be what the wrong one is made from.
        found = ends[high]
        while not self._spent:
            worse = next((n for n in self._made_from(found, frozenset(ends)) if self._is_end_wrong(n)), None)
            if worse is None:
                break
            found = worse
        if found in graph.outputs and not self._is_end_wrong(found):
            return ""
        return found

    def _made_from(self, tensor: str, ends: frozenset[str]) -> list[str]:
        """Return the nearest tensors before one at which a network can end."""
        graph, found, waiting = self._views.graph, [], list(self._views.graph.producer[tensor].inputs)
        while waiting:
            name = waiting.pop()
            if name in ends:
                found.append(name)
            elif name in graph.producer:
                waiting.extend(graph.producer[name].inputs)
        return found
