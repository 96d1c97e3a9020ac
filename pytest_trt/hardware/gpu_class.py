"""What a kind of GPU is: its precisions, and what the documents of the product promise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pytest_trt.records import PRECISIONS

# What the table was made from: a version outside says nothing.
LOOKED_AT = {"tensorrt": ((8, 6), (11, 4)), "tensorrt_rtx": ((1, 0), (1, 7))}


@dataclass(frozen=True)
class Figures:
    """What differs between the products of one class; None, or no entry, for what its documents leave open.

    Attributes
    ----------
    multiprocessors : int or None
    memory_gb : float or None
        As its document rounds it; GB may be 2^30 bytes.
    bandwidth_gb_s : float or None
        In 10^9 bytes a second.
    tera : mapping of str to float
        Peak of dense products by precision, in 10^12 operations a second.
    source : str
        The documents.
    missing : str
        Why a figure that could be expected is not here.
    """

    multiprocessors: int | None = None
    memory_gb: float | None = None
    bandwidth_gb_s: float | None = None
    tera: Mapping[str, float] = field(default_factory=dict, hash=False)
    source: str = ""
    missing: str = ""

    def under(self, other: Figures, precisions: frozenset[str]) -> Figures:
        """Return these figures, and those of `other` where it has one; what is missing is told where something is."""
        merged = Figures(
            self.multiprocessors if other.multiprocessors is None else other.multiprocessors,
            self.memory_gb if other.memory_gb is None else other.memory_gb,
            self.bandwidth_gb_s if other.bandwidth_gb_s is None else other.bandwidth_gb_s,
            {**self.tera, **other.tera},
            other.source or self.source,
            other.missing,
        )
        open_ones = merged.multiprocessors, merged.memory_gb, merged.bandwidth_gb_s
        if not merged.missing and (None in open_ones or precisions - set(merged.tera)):
            return replace(merged, missing=self.missing)
        return merged


@dataclass(frozen=True)
class GpuClass:
    """A kind of GPU that a test can expect.

    Attributes
    ----------
    name : str
        What `--gpu` takes, for instance `t4`; `sm86` for any GPU of one compute capability.
    title : str
        The product, for people.
    sm : int
        Compute capability, 10 * major + minor.
    family : str
        The architecture, for instance `Turing`.
    precisions : frozenset of str
        Those with a tensor-core or native path; any other is not applicable on this class.
    devices : tuple of str
        Words of the device name that the driver reports.
    aliases : tuple of str
        Other names that `get` takes.
    multiples : mapping of str to int
        Precision to the multiple of channels that its kernels work on without padding; a precision that is not
        in it has none.
    figures : Figures
        Those that all products of the class have; of `narrowed`, those of one product.
    variants : mapping of str to Figures
        Those of single products, by the name of the device.
    versions : mapping of str to tuple of str
        `tensorrt` and `tensorrt_rtx` to the first and the last version that supports it; one entry where no end is
        announced, none where no version does; not in it where nothing is known.
    pci : tuple of str
        PCI device ids of vendor 10de, four hexadecimal digits.
    models : tuple of str
        Words of the model in the device tree, for Jetson.
    """

    name: str
    title: str
    sm: int
    family: str
    precisions: frozenset[str]
    devices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    multiples: Mapping[str, int] = field(default_factory=dict, hash=False)
    figures: Figures = field(default_factory=Figures, compare=False)
    variants: Mapping[str, Figures] = field(default_factory=dict, compare=False, repr=False)
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)
    pci: tuple[str, ...] = field(default=(), compare=False, repr=False)
    models: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def capability(self) -> str:
        """Compute capability as NVIDIA writes it: `7.5`."""
        return f"{self.sm // 10}.{self.sm % 10}"

    @property
    def is_generic(self) -> bool:
        """True for a class that stands for every GPU of one compute capability."""
        return self.name == f"sm{self.sm}"

    @property
    def is_jetson(self) -> bool:
        """True for a class of Jetson modules."""
        return bool(self.models)

    @property
    def multiprocessors(self) -> int | None:
        """Number of streaming multiprocessors; None where the class or its documents leave it open."""
        return self.figures.multiprocessors

    @property
    def memory_gb(self) -> float | None:
        """Size of its memory as its document rounds it; None where it is open."""
        return self.figures.memory_gb

    @property
    def bandwidth_gb_s(self) -> float | None:
        """Bandwidth of its memory in 10^9 bytes a second; None where it is open."""
        return self.figures.bandwidth_gb_s

    def peak(self, precision: str) -> float | None:
        """Return the peak of dense products in a precision, in operations a second; a multiply-add is two.

        None where it is open. Without sparsity, at boost clock, on tensor cores where the class has them.
        """
        tera = self.figures.tera.get(precision)
        return None if tera is None else tera * 1e12

    def narrowed(self, device: str) -> GpuClass:
        """Return this class with the figures of one product, by the name of the device or of the Jetson.

        A name without a row leaves the figures as they are. A MIG slice has a part of the product, and so no figures.
        """
        have = words_of(device)
        if "mig" in have:
            return replace(self, figures=Figures(missing="a MIG slice has a part of the product"))
        for key, figures in sorted(self.variants.items(), key=lambda item: -len(item[0])):
            want = words_of(key.rstrip("*"))
            if have == want or (key.endswith("*") and have[: len(want)] == want):
                return replace(self, figures=self.figures.under(figures, self.precisions))
        return self

    def supports(self, product: str, version: str) -> bool | None:
        """Return whether a version of `tensorrt` or `tensorrt_rtx` supports this class, as far as its documents tell.

        None where nothing is known: of other versions than the table was made from (8.6 to 11.4, 1.0 to 1.7), and of a
        compute capability that the documents looked at do not name.
        """
        looked = LOOKED_AT.get(product)
        span = self.versions.get(product)
        number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if looked is None or span is None or not looked[0] <= number <= looked[1]:
            return None
        if not span:
            return False
        ends = [tuple(int(part) for part in end.split(".")) for end in span]
        return ends[0] <= number and (len(ends) < 2 or number <= ends[1])

    def admits(self, other: GpuClass) -> bool:
        """Return whether a GPU of class `other` is one of this class."""
        return self.name == other.name or (self.is_generic and self.sm == other.sm)

    def describe(self) -> str:
        """Return its figures in a line; empty where there are none."""
        parts = []
        if self.multiprocessors is not None:
            parts.append(f"{self.multiprocessors} SMs")
        if self.memory_gb is not None:
            parts.append(f"{self.memory_gb:g} GB")
        if self.bandwidth_gb_s is not None:
            parts.append(f"{self.bandwidth_gb_s:g} GB/s")
        for precision in PRECISIONS:
            if precision in self.figures.tera:
                unit = "TOP/s" if precision == "int8" else "TFLOP/s"
                parts.append(f"{precision} {self.figures.tera[precision]:g} {unit}")
        return ", ".join(parts)


def words_of(device: str) -> list[str]:
    """Return the words of a device name in small letters, without the names of brands."""
    words = [word for word in re.split(r"[^0-9a-z]+", device.lower()) if word]
    return [word for word in words if word not in ("nvidia", "tesla", "geforce", "jetson")]
