"""Faults of builds that only goldens of builds are to see."""

from __future__ import annotations

import os
import signal
from typing import Any


def gemm_refused(site: Any) -> None:
    """Find no implementation for a matrix product."""
    if site.kind == "build" and any(node.op_type in ("Gemm", "MatMul") for node in site.model.graph.node):
        site.plan = None


def process_dies(site: Any) -> None:
    """End the process as the builder would that runs out of memory."""
    if site.kind == "build":
        os.kill(os.getpid(), signal.SIGKILL)
