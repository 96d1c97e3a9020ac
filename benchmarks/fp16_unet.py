"""The deviation ratios of TensorRT's FAQ on a small UNet: how they depend on the shift of the batch normalisations.

    pip install -e . && python benchmarks/fp16_unet.py [--precision fp16] [--seeds 8]

It prints the tables of docs/fp16.md. Everything runs on the emulator: ONNX Runtime behind TensorRT's API, each tensor rounded
to the type where it is stored. The trained networks are those of the wheel `rapidocr-onnxruntime`, where it is installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from pytest_trt.cases.models import RealModel, find_models
from pytest_trt.check.half import HalfReport, make_half_report
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites._unet import images, unet

BLOCK = ("c0", "b0", "r0")
SHIFTS = (0.0, 0.5, 1.0, 2.0, 3.0)


def workbench() -> Workbench:
    """Return a workbench on an emulated A100."""
    settings = Settings(runtime="emulator", gpu="a100", emulate="tensorrt-10.13")
    return Workbench(settings, discover(settings))


def by_shift(bench: Workbench, precision: str, seeds: int) -> Iterator[str]:
    """Yield a row for each shift: the ratio behind convolution, normalisation and ReLU, over all seeds."""
    yield "| shift | conv0 | bn0 | relu0 | relu0 / bn0 |"
    yield "| --- | --- | --- | --- | --- |"
    for shift in SHIFTS:
        counts, total = [0, 0, 0], 0
        for seed in range(seeds):
            x = images(seed)
            report = make_half_report(bench, unet(x, shift=shift, seed=seed), {"x": x}, precision=precision)
            counts = [n + report.row(name).deviation.deviating for n, name in zip(counts, BLOCK, strict=True)]
            total += report.row(BLOCK[0]).deviation.total
        ratios = " | ".join(f"{count / total:.4%}" for count in counts)
        yield f"| {shift:g} | {ratios} | {counts[2] / counts[1]:.3f} |"


def by_network(bench: Workbench, models: tuple[RealModel, ...]) -> Iterator[str]:
    """Yield a row for each trained network: deviating elements into and out of its normalisations and ReLUs."""
    yield "| network | tensors | Conv -> BN: lower in | deviating before, behind BN | before, behind ReLU |"
    yield "| --- | --- | --- | --- | --- |"
    for model in models:
        report = make_half_report(bench, model.model(), model.inputs(), profile=model.profile)
        norms = pairs(report, "BatchNormalization", model)
        relus = pairs(report, "Relu", model)
        lower = sum(behind < before for before, behind in norms)
        yield (
            f"| {model.name} | {len(report.rows)} | {lower} of {len(norms)} | {added(norms)} | {added(relus)} |"
        )


def pairs(report: HalfReport, op: str, model: RealModel) -> list[tuple[int, int]]:
    """Return the counts of deviating elements before and behind each node of an operator."""
    rows = {row.tensor: row for row in report.rows}
    read = {node.output[0]: node.input[0] for node in model.model().graph.node if node.op_type == op}
    return [
        (rows[before].deviation.deviating, rows[behind].deviation.deviating)
        for behind, before in read.items()
        if behind in rows and before in rows and (op != "BatchNormalization" or rows[before].op == "Conv")
    ]


def added(counts: list[tuple[int, int]]) -> str:
    """Return sums over nodes in words."""
    before, behind = (sum(side) for side in zip(*counts, strict=True)) if counts else (0, 0)
    return f"{before}, {behind}"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=("fp16", "bf16"), default="fp16")
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    bench = workbench()
    print(*by_shift(bench, given.precision, given.seeds), sep="\n")
    models = find_models()
    if isinstance(models, tuple):
        print("", *by_network(bench, models), sep="\n")
    else:
        print(f"\n{models.reason}; to get it: {models.mend}")


if __name__ == "__main__":
    main()
