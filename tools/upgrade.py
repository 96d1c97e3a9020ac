"""Compare two versions of TensorRT: record builds with the older one, check them with the newer one, print the report.

Usage: python tools/upgrade.py [--report DIR] [--store DIR] [--venv DIR] [PYTEST OPTION ...] --from REQUIREMENT ...

The newer one is what this Python has. The older one gets a virtual environment of its own, with the same onnx, onnxruntime and
numpy, so that TensorRT is all that differs. TensorRT-RTX builds without a GPU. Where TensorRT runs, the same two pytest commands
compare outputs as well; docs/upgrade.md has them. Exit status: that of the check.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_trt.golden.store import open_store  # noqa: E402

SAME = ("numpy", "onnx", "onnxruntime", "hypothesis", "pytest", "rapidocr-onnxruntime")
TESTS = "suites/test_golden_builds.py"
OPTIONS = ("--gpu=l4", "--trt-budget=standard", "--trt-precision=fp32,fp16,bf16,int8", "--trt-require=build")


def main(argv: Sequence[str] | None = None) -> int:
    """Make the environment of the older version, record, check, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="older", nargs="+", required=True, metavar="REQUIREMENT")
    parser.add_argument("--report", type=Path, default=Path("upgrade"), help="folder of the report")
    parser.add_argument(
        "--store", type=Path, help="where the older goldens go; default: in the report's folder"
    )
    parser.add_argument(
        "--venv", type=Path, help="environment of the older version; default: beside the store"
    )
    given, more = parser.parse_known_args(argv)
    report = given.report.resolve()
    store = (given.store or report / "goldens").resolve()
    venv = (given.venv or report / "older").resolve()
    begin = time.monotonic()
    python = make_environment(venv, given.older)
    told(f"environment of {' '.join(given.older)}", begin)
    status = run(record_command(python, store, more))
    if status:
        return status
    told("recorded", begin)
    status = run(check_command(sys.executable, store, recorded_product(store), report, more))
    told("checked", begin)
    page = report / "upgrade.md"
    print(page.read_text(encoding="utf-8") if page.is_file() else f"no report: {page} is not there")
    return status or int(not page.is_file())


def make_environment(venv: Path, requirements: Sequence[str]) -> str:
    """Return the Python of a virtual environment that has this checkout and the requirements; made where it is not there."""
    python = venv / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", str(venv)], check=True)
    kept = [f"{name}=={version}" for name in SAME if (version := find_version(name))]
    run([str(python), "-m", "pip", "install", "--quiet", "-e", str(ROOT), *kept, *requirements], check=True)
    return str(python)


def find_version(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def record_command(python: str, store: Path, more: Sequence[str] = ()) -> list[str]:
    """Return the command that records."""
    return [
        python,
        "-m",
        "pytest",
        TESTS,
        "-q",
        *OPTIONS,
        "--trt-golden=record",
        f"--trt-golden-dir={store}",
        *more,
    ]


def check_command(python: str, store: Path, older: str, report: Path, more: Sequence[str] = ()) -> list[str]:
    """Return the command that checks, and writes the report."""
    golden = ["--trt-golden=check", f"--trt-golden-dir={store}", f"--trt-golden-from={older}"]
    return [
        python,
        "-m",
        "pytest",
        TESTS,
        "-q",
        "-rx",
        *OPTIONS,
        *golden,
        f"--trt-report={report}",
        *more,
    ]


def recorded_product(store: Path) -> str:
    """Return the product and version that a store has goldens of; one, or nothing is compared."""
    kept = open_store(store).keys()
    products = sorted({key.product for key in kept})
    if len(products) != 1:
        sys.exit(
            f"{store} has goldens of {products or 'nothing'}: give a store of one version, or an empty one"
        )
    return products[0]


def run(command: Sequence[str], *, check: bool = False) -> int:
    """Run a command in the checkout and return its exit status."""
    print(f"$ {' '.join(command)}", flush=True)
    # A PYTHONPATH of the outer environment would give the older Python the packages of the newer one.
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(command, cwd=ROOT, env=environ, check=check).returncode


def told(what: str, begin: float) -> None:
    """Say what is done and how long it took so far."""
    print(f"{what}: {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
