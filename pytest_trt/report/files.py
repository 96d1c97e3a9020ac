"""The folder of a report: whether it can be written, and files that are old or new, never half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pytest_trt.errors import SettingsError

JSON, MARKDOWN, HTML = "report.json", "report.md", "index.html"


def check_folder(folder: Path) -> None:
    """Check that reports can be written to a folder, and leave nothing behind.

    Raises
    ------
    SettingsError
        They cannot: a file is in the way, or the system refuses.
    """
    try:
        here = folder
        while not here.exists() and here != here.parent:
            here = here.parent
        with tempfile.TemporaryFile(dir=here):
            pass
        for name in (JSON, MARKDOWN, HTML):
            if (folder / name).is_dir():
                raise IsADirectoryError(f"{name!r} is a folder there")
    except OSError as error:
        raise SettingsError(
            f"--trt-report: {str(folder)!r} cannot be written",
            why=f"{type(error).__name__}: {error}",
            mend="give a folder that you may write to; it is made where it does not exist",
        ) from None


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files beside their places and put them there, so that a reader sees an old or a new one.

    Raises
    ------
    OSError
        The system refuses; the files that were there are left as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = {name: folder / f".{name}.{os.getpid()}" for name in files}
    try:
        for name, text in files.items():
            # A lone surrogate stands in names of files that are no UTF-8.
            beside[name].write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        for name, path in beside.items():
            os.replace(path, folder / name)
    finally:
        for path in beside.values():
            path.unlink(missing_ok=True)
