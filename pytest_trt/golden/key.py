"""By what a golden is found: case, precision, GPU class, product and version; and the path that stands for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pytest_trt.errors import GoldenError

# Of a folder or file name: no separator, no leading dot, nothing that a file system folds or refuses.
_SAFE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def safe_name(text: str) -> str:
    """Return a name that is one part of a path on every system; two texts never share one.

    A text of lower-case letters, digits and `._+-` stays as it is; any other is shortened to those, with a digest of the whole.

    Raises
    ------
    GoldenError
        The text is empty.
    """
    if not text.strip():
        raise GoldenError("a golden needs a name", mend="trt_golden('my-case', outputs)")
    good = (
        _SAFE.fullmatch(text)
        and not _RESERVED.fullmatch(text)
        and ".." not in text
        and not text.endswith(".")
    )
    if good:
        return text
    short = re.sub(r"[^a-z0-9+-]+", "-", text.lower()).strip("-+")[:60] or "case"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{short}-{digest[:12]}"


@dataclass(frozen=True, order=True)
class Key:
    """By what a golden is found.

    Attributes
    ----------
    case : str
        Name of the case.
    precision : str
        `fp32`, `int8+fp16`, ... as asked for.
    gpu : str
        GPU class.
    product : str
        Product and version: `tensorrt-10.13.3.9`, `tensorrt_rtx-1.7.1.116`, `emulator+tensorrt-10.13.3.9+ort-1.23.2`.
    """

    case: str
    precision: str
    gpu: str
    product: str

    @property
    def path(self) -> str:
        """Where it lies in a store, without suffix: four safe parts, with `/` between them on every system."""
        return "/".join(safe_name(part) for part in (self.case, self.precision, self.gpu, self.product))

    @property
    def title(self) -> str:
        """The key for people."""
        return f"{self.case} ({self.precision}, {self.gpu}, {self.product})"

    def of(self, product: str) -> Key:
        """Return the key of the same case for another product and version."""
        return Key(self.case, self.precision, self.gpu, product)
