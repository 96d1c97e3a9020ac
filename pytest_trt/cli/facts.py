"""One fact about this machine, and the probes that run in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PROBE_SECONDS = 60

# Runs in a child: a TensorRT with a wrong library or driver may crash or hang while it is imported.
_IMPORT = """
import importlib, json, sys
name, before = sys.argv[1], sys.argv[2:]
answer = {"version": "", "libraries": [], "missing": "", "error": ""}
try:
    for first in before:
        importlib.import_module(first)
    answer["version"] = str(getattr(importlib.import_module(name), "__version__", ""))
    with open("/proc/self/maps") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if line.count(" ") >= 5 and "/" in line}
    answer["libraries"] = sorted(path for path in paths if ".so" in path)
except ModuleNotFoundError as error:
    answer["missing" if error.name in {name, *before} else "error"] = f"ModuleNotFoundError: {error}"
except BaseException as error:
    answer["error"] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(answer))
"""


@dataclass(frozen=True)
class Fact:
    """One thing that is here, missing or broken.

    Attributes
    ----------
    group, name : str
        Heading and thing, for instance `TensorRT` and `package`.
    state : str
        `here`, `missing` or `broken`.
    detail : str
        Version and place, or the reason in words.
    enables : str
        What it is for.
    mend : str
        How to get it; empty when it is here.
    """

    group: str
    name: str
    state: str
    detail: str
    enables: str = ""
    mend: str = ""


@dataclass(frozen=True)
class ModuleProbe:
    """What importing a module in a fresh process gave; `missing` and `error` are empty when it worked."""

    version: str = ""
    libraries: tuple[str, ...] = ()
    missing: str = ""
    error: str = ""

    @property
    def works(self) -> bool:
        """True when the module was imported."""
        return not self.missing and not self.error


def probe_module(name: str, before: Sequence[str] = (), seconds: float = PROBE_SECONDS) -> ModuleProbe:
    """Return what `import name` gives in a process of its own, after the modules `before`; raises nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT, name, *before],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return ModuleProbe(error=f"the import hung for {seconds:g} s")
    except OSError as error:
        return ModuleProbe(error=str(error))
    if done.returncode < 0:
        return ModuleProbe(error=f"the import ended in signal {-done.returncode}")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return ModuleProbe(error=f"the import ended the process with status {done.returncode}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return ModuleProbe(
        answer["version"], tuple(answer["libraries"]), answer["missing"], answer["error"].split("\n")[0]
    )
