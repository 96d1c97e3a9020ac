"""What the emulator tells of the version that it plays, and the table of what a real TensorRT tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_trt.runtime.agreement import Versions
from pytest_trt.runtime.load import Runtime

from ._named import Checked

PLAYED = "played-version"
PARSER = "parser-version"


def check_emulated(rt: Runtime) -> Iterator[Checked]:
    """Yield whether the emulator's module tells the version that was asked for, and never TensorRT's name alone."""
    told = str(rt.trt.__version__)
    yield PLAYED, None if told == rt.version else f"the module says {told}, and {rt.version} is played"
    parser = int(rt.trt.get_nv_onnx_parser_version())
    yield PARSER, None if parser > 0 else f"get_nv_onnx_parser_version() answers {parser}"


def table(found: Versions) -> dict[str, Any]:
    """Return the section that shows what each place says."""
    rows = [["bindings", found.module]]
    if found.library:
        rows.append(["getInferLibVersion()", ".".join(map(str, found.library))])
    if found.parts:
        rows.append(["getInferLib*Version()", ".".join(map(str, found.parts))])
    if found.symbol:
        rows.append(["exported symbol", found.symbol])
    if found.soname is not None:
        rows.append(["SONAME", str(found.soname)])
    rows += [[f"package {name}", version] for name, version in found.packages.items()]
    rows += [[path, version] for path, version in found.headers.items()]
    return {
        "title": f"Version of {found.product}",
        "text": [found.place],
        "head": ["where", "version"],
        "rows": rows,
    }
