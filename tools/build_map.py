"""Build everything with the TensorRT-RTX that is installed, for every compute capability that it has, and write `docs/builds.md`.

Usage: python tools/build_map.py [--out docs/builds.md] [--jobs 1] [--sm 75 80 ...] [--without-networks]

Operators, fusion motifs and networks are built at every precision, INT8 also with 16 bits beside it. It takes no GPU, and nothing
is executed. Each compute capability has a process of its own: a refusal for Turing makes TensorRT-RTX 1.7.1 build the next model
of the process by the rules of Turing. Exit status 1: a build ended otherwise than the table of known limits says; the map then
names it.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from build_page import render  # noqa: E402  tools is no package

from pytest_trt.cases.limits import REFUSED, compare, expected_outcome, name_asked  # noqa: E402
from pytest_trt.cases.models import find_models  # noqa: E402
from pytest_trt.errors import UnsupportedError  # noqa: E402
from pytest_trt.hardware import get, names  # noqa: E402
from pytest_trt.precision.attribution import UNPROVEN, attribute  # noqa: E402
from pytest_trt.precision.proof import prove  # noqa: E402
from pytest_trt.records import Missing, Settings  # noqa: E402
from pytest_trt.runtime.load import Runtime, find_builder  # noqa: E402
from pytest_trt.strategies import Case, ElementwiseCase  # noqa: E402
from suites._build import attempt, make_request  # noqa: E402
from suites._quantized import quantized_networks  # noqa: E402

ASKED = (
    *(("fp32", "off"), ("tf32", "off"), ("fp16", "off"), ("bf16", "off")),
    *(("int8", "off"), ("int8", "fp16"), ("int8", "bf16")),
)
# Block, row, configuration.
CONFIGURATIONS = (
    ("Convolutions", "1-D", "conv1d-n2-c16-o16-i9-k3-t1-p1x1-d1-g1-b1-w_int-s0"),
    ("Convolutions", "2-D", "conv2d-n2-c16-o16-i7x7-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-w_int-s0"),
    ("Convolutions", "2-D, 1x1 kernel", "conv2d-n2-c16-o32-i7x7-k1x1-t1x1-p0x0x0x0-d1x1-g1-b1-w_int-s0"),
    ("Convolutions", "2-D, stride 2", "conv2d-n2-c16-o16-i7x7-k3x3-t2x2-p1x1x1x1-d1x1-g1-b1-w_int-s0"),
    ("Convolutions", "2-D, dilation 2", "conv2d-n2-c16-o16-i7x7-k3x3-t1x1-p2x2x2x2-d2x2-g1-b1-w_int-s0"),
    ("Convolutions", "2-D, 4 groups", "conv2d-n2-c16-o16-i7x7-k3x3-t1x1-p1x1x1x1-d1x1-g4-b1-w_int-s0"),
    ("Convolutions", "2-D, depthwise", "conv2d-n2-c16-o16-i7x7-k3x3-t1x1-p1x1x1x1-d1x1-g16-b1-w_int-s0"),
    ("Convolutions", "2-D, 3 channels to 17", "conv2d-n2-c3-o17-i7x7-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-w_int-s0"),
    (
        *("Convolutions", "2-D, dynamic batch"),
        "conv2d-n2-c16-o16-i7x7-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x2x4-w_int-s0",
    ),
    (
        *("Convolutions", "3-D"),
        "conv3d-n2-c16-o16-i5x5x5-k3x3x3-t1x1x1-p1x1x1x1x1x1-d1x1x1-g1-b1-w_int-s0",
    ),
    ("Deconvolutions", "1-D", "conv_transpose1d-n2-c8-o8-i7-k3-t2-p0x0-d1-g1-b1-e0-w_int-s0"),
    ("Deconvolutions", "2-D", "conv_transpose2d-n2-c8-o8-i4x4-k3x3-t1x1-p0x0x0x0-d1x1-g1-b1-e0x0-w_int-s0"),
    (
        *("Deconvolutions", "2-D, stride 2"),
        "conv_transpose2d-n2-c8-o8-i4x4-k3x3-t2x2-p0x0x0x0-d1x1-g1-b1-e0x0-w_int-s0",
    ),
    (
        *("Deconvolutions", "2-D, dilation 2"),
        "conv_transpose2d-n2-c8-o8-i4x4-k3x3-t1x1-p0x0x0x0-d2x2-g1-b1-e0x0-w_int-s0",
    ),
    (
        *("Deconvolutions", "2-D, stride 2 and dilation 2"),
        "conv_transpose2d-n2-c8-o8-i4x4-k3x3-t2x2-p0x0x0x0-d2x2-g1-b1-e0x0-w_int-s0",
    ),
    (
        *("Deconvolutions", "2-D, 4 groups"),
        "conv_transpose2d-n2-c8-o8-i4x4-k3x3-t1x1-p0x0x0x0-d1x1-g4-b1-e0x0-w_int-s0",
    ),
    (
        *("Deconvolutions", "3-D"),
        "conv_transpose3d-n2-c8-o8-i4x4x4-k3x3x3-t1x1x1-p0x0x0x0x0x0-d1x1x1-g1-b1-e0x0x0-w_int-s0",
    ),
    ("Matrix products", "Gemm", "gemm-n4-k32-o16-ta0-tb0-al4-be4-b1-w_int-s0"),
    ("Matrix products", "Gemm, B transposed", "gemm-n4-k32-o16-ta0-tb1-al4-be4-b1-w_int-s0"),
    ("Matrix products", "MatMul with constant weights", "matmul-n3-m8-k64-o32-i0-w_int-s0"),
    ("Matrix products", "MatMul of two inputs", "matmul-n3-m8-k64-o32-i1-w_int-s0"),
    ("Matrix products", "MatMul of vectors, K = 1", "matmul-n1-m1-k1-o1-i1-w_int-s0"),
    *(
        ("Pools", f"{kind} {dims}-D", f"{kind}_pool{dims}d-n2-c8-i{side}-k{kernel}-t{kernel}-p{pads}-z0-y0-w_int-s0")
        for kind in ("max", "average")
        for dims, side, kernel, pads in (
            (1, "8", "2", "0x0"),
            (2, "8x8", "2x2", "0x0x0x0"),
            (3, "8x8x8", "2x2x2", "0x0x0x0x0x0"),
        )
    ),
    *(
        ("Pools", f"global average {dims}-D", f"global_average_pool{dims}d-n2-c8-i{side}-z0-y0-w_int-s0")
        for dims, side in ((1, "5"), (2, "5x5"), (3, "5x5x5"))
    ),
    ("Motifs", "conv, BN, ReLU", "conv_bn_relu-n2-c16-o16-i6x6-k3-lo0-hi1-w_real-s0"),
    ("Motifs", "conv, residual Add, ReLU", "conv_add_relu-n2-c16-o16-i6x6-k3-lo0-hi1-w_real-s0"),
    ("Motifs", "conv, Clip", "conv_clip-n2-c16-o16-i6x6-k3-lo0-hi6-w_real-s0"),
    ("Motifs", "depthwise and 1x1", "depthwise_separable-n2-c16-o16-i6x6-k3-lo0-hi1-w_real-s0"),
    ("Motifs", "views into a Concat", "concat_views-n2-c16-o16-i6x6-k3-lo0-hi1-w_real-s0"),
    ("Motifs", "MatMul, Add, Clip", "matmul_add_clip-n8-c32-o16-k1-lo0-hi6-w_real-s0"),
)  # fmt: skip
ELEMENTWISE = "Other operators"
QUANTIZED = "Networks with Q/DQ of their own"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the map, or with `--child` the part of one compute capability on standard output."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "builds.md")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--sm", type=int, nargs="+")
    parser.add_argument("--without-networks", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(options.child, networks=not options.without_networks)))
        return 0
    classes = find_classes()
    if options.sm:
        classes = {sm: name for sm, name in classes.items() if sm in options.sm}
    begin = time.perf_counter()
    with ThreadPoolExecutor(options.jobs) as pool:
        parts = list(pool.map(lambda name: child(name, options.without_networks), classes.values()))
    facts = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    options.out.write_text(render(parts, facts), encoding="utf-8")
    contradictions = [text for part in parts for text in part["contradictions"]]
    builds = sum(part["builds"] for part in parts)
    print(
        f"{builds} builds for {len(parts)} compute capabilities, {time.perf_counter() - begin:.0f} s: {options.out}"
    )
    for text in contradictions:
        print(f"  against the table of known limits: {text}")
    return 1 if contradictions else 0


def find_classes() -> dict[int, str]:
    """Return the compute capabilities that the installed TensorRT-RTX builds for, each with one GPU class that has it."""
    builder = find_builder(Settings(gpu="a100"))
    if builder is None or not builder.features.rtx:
        raise SystemExit('TensorRT-RTX is not installed; to get it: pip install "pytest-trt[rtx]"')
    known = {int(name[2:]) for name in builder.features.compute_capabilities if name.startswith("SM")}
    found: dict[int, str] = {}
    for name in names():
        if get(name).sm in known:
            found.setdefault(get(name).sm, name)
    return dict(sorted(found.items()))


def child(name: str, without_networks: bool) -> dict[str, Any]:
    """Return what a process of its own measures for a GPU class."""
    command = [sys.executable, __file__, "--child", name, *(["--without-networks"] * without_networks)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    part: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return part


def measure(gpu: str, *, networks: bool = True) -> dict[str, Any]:
    """Return how every build for a GPU class ends, as plain data."""
    rt = find_builder(Settings(gpu=gpu))
    assert rt is not None
    rows, contradictions, builds = [], [], 0
    for block, row, model, shapes, profile in everything():
        for precision, hybrid in ASKED:
            if (block == QUANTIZED and precision != "int8") or (precision == "tf32" and rt.gpu.sm < 80):
                continue  # Turing has no TF32: the flag changes nothing there
            found, against = build_one(rt, model, precision, hybrid, shapes, profile)
            asked = name_asked(precision, hybrid)
            rows.append([block, row, asked, found["outcome"], found["words"]])
            contradictions += [f"SM{rt.gpu.sm} {row} {asked}: {line}" for line in against]
            builds += 1
    trained = []
    known = find_models() if networks else ()
    for network in () if isinstance(known, Missing) else known:
        for precision, hybrid in ASKED:
            if precision == "tf32" and rt.gpu.sm < 80:
                continue
            given = (
                network.model(),
                precision,
                hybrid,
                network.input_shapes,
                network.profile,
                network.inputs(),
            )
            found, against = build_one(rt, *given)
            asked = name_asked(precision, hybrid)
            trained.append({"network": network.name, "asked": asked, **found})
            contradictions += [f"SM{rt.gpu.sm} {network.name} {asked}: {line}" for line in against]
            builds += 1
    facts = {"product": rt.product, "version": rt.version, "sm": rt.gpu.sm, "builds": builds}
    return {**facts, "rows": rows, "networks": trained, "contradictions": contradictions}


def everything() -> Iterator[tuple[str, str, Any, Mapping[str, tuple[int, ...]], Any]]:
    """Yield block, row, model, input shapes and profile of everything small."""
    for block, row, text in CONFIGURATIONS:
        case = Case.parse(text)
        yield block, row, case.model(), case.input_shapes, case.profile
    for family in ElementwiseCase.families:
        case = elementwise(family)
        yield ELEMENTWISE, family, case.model(), case.input_shapes, case.profile
    for name, (model, shapes) in quantized_networks().items():
        yield QUANTIZED, name, model, shapes, None


def elementwise(family: str) -> Case:
    """Return a configuration of a family; which forms there are is the family's own affair."""
    for form in range(8):
        case = _valid(f"{family}-n2-c8x6x6-f{form}-w_int-s0")
        if case is not None:
            return case
    raise ValueError(f"{family} has none of the forms 0 to 7")


def _valid(text: str) -> Case | None:
    from pytest_trt.errors import SettingsError

    try:
        case = Case.parse(text)
    except SettingsError:
        return None
    return case if case.flaw() is None else None


def build_one(
    rt: Runtime,
    model: Any,
    precision: str,
    hybrid: str,
    shapes: Mapping[str, tuple[int, ...]],
    profile: Any,
    feed: Any = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return how one build ended, and what of it contradicts the table of known limits."""
    expected = expected_outcome(
        model, precision, sm=rt.gpu.sm, product=rt.product, version=rt.version, hybrid=hybrid
    )
    plan = attempt(rt, make_request(rt, model, precision, shapes, profile, feed, hybrid))
    if isinstance(plan, UnsupportedError):
        known = [part for row in expected.refusals for part in row.message]
        words = sentence(plan.why, known)
        return {"outcome": REFUSED, "words": words}, compare(expected, REFUSED, words=plan.why)
    ran = attribute(plan.layers, expected.working, precision)
    other = sorted({kind for kind in ran.values() if kind not in (precision, UNPROVEN)})
    unproven = tuple(name for name, kind in ran.items() if kind == UNPROVEN)
    fallback = tuple(name for name, kind in ran.items() if kind not in (precision, UNPROVEN))
    outcome = "/".join(other) if other else "?" if unproven and len(unproven) == len(ran) else "builds"
    proof = prove(plan.layers, precision, hybrid=hybrid)
    found = {
        "outcome": outcome,
        "words": "",
        "ran": dict(sorted(Counter(ran.values()).items())),
        "types": dict(sorted(proof.layers.items())),
        "layers": len(plan.layers),
        "reformats": proof.reformats,
        "bytes": len(plan.data),
        "seconds": round(plan.seconds, 2),
    }
    return found, compare(expected, outcome, fallback=fallback, unproven=unproven)


def sentence(words: Sequence[str], known: Sequence[str]) -> str:
    """Return the sentence of a refusal that holds one of the known parts, without places in sources and numbers behind it."""
    lines = [line.strip() for text in words for line in text.splitlines() if line.strip()]
    for part in sorted(known, key=len, reverse=True):
        for line in lines:
            before, found, behind = line.partition(part)
            if found:
                start = before.rpartition("] ")[2].rpartition(": ")[2]
                return f"{start}{part}{re.split(r'[:.;(]| In compileGraph', behind)[0]}".strip()
    return lines[0][:160] if lines else "no words"


if __name__ == "__main__":
    sys.exit(main())
