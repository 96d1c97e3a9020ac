"""What differs under pytest-xdist: one seed for all workers, a GPU for each, counts that come home."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.options import is_given
from pytest_trt.session import KEY

SEED = "trt_seed"
NOT_RUN = "trt_not_run"
VISIBLE = "CUDA_VISIBLE_DEVICES"


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process is a worker of xdist."""
    return hasattr(config, "workerinput")


def is_distributing(config: pytest.Config) -> bool:
    """Return whether this process is a controller that leaves the tests to workers."""
    return config.pluginmanager.has_plugin("dsession")  # the name that xdist registers its controller under


def seed_of_controller(config: pytest.Config) -> int | None:
    """Return the seed that the controller took, None outside of a worker."""
    workerinput: dict[str, Any] = getattr(config, "workerinput", {})
    return workerinput.get(SEED)


def choose_gpu(worker: str, visible: str | None, nodes: int) -> str | None:
    """Return the CUDA_VISIBLE_DEVICES of a worker: one entry of the caller's own, in turn.

    Parameters
    ----------
    worker : str
        xdist's name of it: `gw0`, `gw1`, ...
    visible : str or None
        The caller's CUDA_VISIBLE_DEVICES.
    nodes : int
        GPUs of the machine, which count where the variable is not set.

    Returns
    -------
    str or None
        None: leave it as it is, because there is no choice.
    """
    if not worker[2:].isdigit():
        return None
    if visible is None:
        entries = [str(index) for index in range(nodes)]
    else:
        entries = [entry.strip() for entry in visible.split(",") if entry.strip()]
    return entries[int(worker[2:]) % len(entries)] if len(entries) > 1 else None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Give a worker its GPU, before any conftest can load CUDA; only where an option of ours is given."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and is_given(early_config):
        set_gpu(worker, os.environ)


def set_gpu(worker: str, environ: MutableMapping[str, str], dev: Path = Path("/dev")) -> None:
    """Set CUDA_VISIBLE_DEVICES of a worker, where there are several GPUs to choose from."""
    nodes = sum(1 for path in dev.glob("nvidia[0-9]*") if path.name[6:].isdigit())
    chosen = choose_gpu(worker, environ.get(VISIBLE), nodes)
    if chosen is not None:
        environ[VISIBLE] = chosen


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker the seed of the session."""
    node.workerinput[SEED] = node.config.stash[KEY].settings.seed
