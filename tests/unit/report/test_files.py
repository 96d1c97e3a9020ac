"""The folder of a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.errors import SettingsError
from pytest_trt.report import files


def test_the_check_leaves_nothing(tmp_path: Path) -> None:
    files.check_folder(tmp_path / "a" / "b")
    files.check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "old"])
def test_what_is_in_the_way_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "old" / "index.html").mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be written") as caught:
        files.check_folder(tmp_path / name)
    assert repr(str(tmp_path / name)) in caught.value.what and caught.value.why


def test_files_are_old_or_new(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files.write_files(folder, {"x": "old", "y": "old"})
    with pytest.raises(TypeError):
        files.write_files(folder, {"x": "new", "y": None})  # type: ignore[dict-item]
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"x": "old", "y": "old"}
    with (folder / "x").open() as reader:
        files.write_files(folder, {"x": "new\n", "y": "\udcff"})
        assert reader.read() == "old", "who reads the old one reads it to its end"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"x": "new\n", "y": "\\udcff"}
