"""What loading the plugin adds to `pytest --collect-only`, measured alternately with and without it.

    python benchmarks/plugin_load.py [--rounds 21] [--limit-ms 15]

Each round times both commands, in an order that changes from round to round, on one test that does not use
the plugin. Printed is the median of the differences within a round, of wall time and of processor time.
Exit status 1: the median wall difference is above the limit, or a heavy module was imported.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numpy", "onnx", "onnxruntime", "hypothesis", "tensorrt", "tensorrt_rtx", "pycuda")


def measure(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Return wall and processor seconds of one `pytest --collect-only`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def find_heavy(folder: Path) -> list[str]:
    """Return the heavy modules that are loaded after a collection with the plugin."""
    code = (
        "import sys, pytest\n"
        "options = ['--collect-only', '-q', '-p', 'no:cacheprovider', '-p', 'pytest_trt.plugin']\n"
        "status = pytest.main(options)\n"
        f"print('\\nloaded:', *[name for name in {HEAVY!r} if name in sys.modules])\n"
        "sys.exit(status)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1].split()[1:]


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--limit-ms", type=float, default=15.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_plain.py").write_text("def test_plain():\n    pass\n")
        heavy = find_heavy(folder)
        differences: list[tuple[float, float]] = []
        without: list[float] = []
        for index in range(given.rounds + 1):
            if index % 2:
                bare, loaded = measure([], folder), measure(["-p", "pytest_trt.plugin"], folder)
            else:
                loaded, bare = measure(["-p", "pytest_trt.plugin"], folder), measure([], folder)
            if index:  # the first round fills the disk cache
                differences.append((loaded[0] - bare[0], loaded[1] - bare[1]))
                without.append(bare[0])
    wall, cpu = (1000 * statistics.median(column) for column in zip(*differences, strict=True))
    print(f"pytest --collect-only without the plugin: {1000 * statistics.median(without):.0f} ms")
    print(f"the plugin adds {wall:.1f} ms (processor time {cpu:.1f} ms), median of {len(differences)} rounds")
    print(f"heavy modules loaded: {', '.join(heavy) or 'none'}")
    return int(wall > given.limit_ms or bool(heavy))


if __name__ == "__main__":
    sys.exit(main())
