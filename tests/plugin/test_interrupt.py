"""Ctrl-C in the middle of a run: pytest's own exit status, no thread that keeps the process, no temporary file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

# A shell starts a background job with Ctrl-C ignored, and every process below inherits that: CI may be such a job.
TEST = """
import signal
import threading
import numpy as np
from onnx import TensorProto, helper

signal.signal(signal.SIGINT, signal.default_int_handler)

def test_endless(trt_session):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = trt_session(model, precision="fp32")
    while True:
        session.run({"x": np.ones(64, np.float32)})
        print("ran", len(threading.enumerate()), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_an_interrupted_run_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    spare = tmp_path / "spare"
    spare.mkdir()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-q",
        "test_it.py",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:benchmark",
    ]
    command += ["--trt-runtime=emulator", "--trt-precision=fp32", f"--trt-cache-dir={tmp_path / 'cache'}"]
    environment = {**os.environ, "TMPDIR": str(spare), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("ran"):
            break
    assert seen and seen[-1].startswith("ran"), "".join(seen)
    process.send_signal(signal.SIGINT)
    reader = threading.Thread(target=lambda: seen.extend(process.stdout or ()))
    reader.start()
    try:
        status = process.wait(timeout=60)  # a thread that is left would hold the interpreter
    finally:
        process.kill()
        reader.join()
    text = "".join(seen)
    assert status == pytest.ExitCode.INTERRUPTED, text
    assert "KeyboardInterrupt" in text
    # ONNX Runtime 1.32 leaves `.ses`, a telemetry session, in the temporary folder whenever it is imported.
    assert [path.name for path in spare.iterdir() if path.name != ".ses"] == []
    assert sorted(p.name for p in tmp_path.iterdir() if p.name not in ("cache", "spare")) == ["test_it.py"]
