"""`python -m pytest_trt golden`: each action, with its words and exit statuses."""

from __future__ import annotations

import pytest

from pytest_trt.cli import main
from pytest_trt.golden.cache import note_unused, open_rejected, read_unused
from pytest_trt.golden.store import open_store
from tests.unit.golden.test_between import KEY, NEW, OLD, golden


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a store of two versions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = open_store("golden")
    store.save(golden(0.1))
    store.save(golden(0.2, NEW))
    return tmp_path


def run(capsys, *arguments):
    status = main(["golden", *arguments])
    told = capsys.readouterr()
    return status, told.out + told.err


def test_list(place, capsys):
    status, text = run(capsys, "list")
    assert status == 0 and text.splitlines()[0].split() == ["case", "precision", "gpu", "product"]
    assert f"2 goldens in golden: 1 of {OLD}, 1 of {NEW}" in text
    assert run(capsys, "list", "nothing") == (0, "0 goldens in golden\n")
    assert (
        "1 goldens"
        in run(capsys, "list", "cas", "--product=tensorrt-10.0", "--gpu=t4", "--precision=fp32")[1]
    )
    assert "0 goldens" in run(capsys, "list", "--precision=int8")[1]
    assert "0 goldens" in run(capsys, "list", "--dir=elsewhere")[1]
    assert not (place / "elsewhere").exists()


def test_show(place, capsys):
    status, text = run(capsys, "show", "case", "--product=tensorrt-10.13")
    assert status == 0 and text.startswith(f"case (fp32, t4, {NEW})\n")
    assert "output 'y': float32 (64,)" in text and '"total": 64.0' in text
    status, text = run(capsys, "show", "cass")
    assert status == 2 and "no golden of 'cass' in 'golden'" in text and "did you mean 'case'?" in text


def test_diff(place, capsys):
    status, text = run(capsys, "diff", "tensorrt-10.0", "tensorrt-10.13")
    assert status == 1 and "in golden: 1 drift" in text
    row = next(line for line in text.splitlines() if line.startswith("case  "))
    assert row.split() == ["case", "precision", "gpu", "class", "RMS", "then", "RMS", "now", "worst", "then",
                           "worst", "now", "why"]  # fmt: skip
    assert "  0.1 " in text and "  0.2 " in text
    assert "then" in text and "####" in text, "both histograms"
    status, text = run(capsys, "diff", OLD, OLD)
    assert (status, text) == (0, f"{OLD} to {OLD} in golden: 1 identical\n")
    assert "the same bits" in run(capsys, "diff", OLD, OLD, "--all")[1]
    status, text = run(capsys, "diff", OLD, "tensorrt-12")
    assert status == 2 and "there are: tensorrt-10.0.1.6, tensorrt-10.13.3.9" in text


def test_diff_names_what_only_one_has(place, capsys):
    open_store("golden").remove(KEY.of(NEW))
    other = golden(0.1, NEW)
    open_store("golden").save(type(other)(type(KEY)("more", "fp32", "t4", NEW), other.kind, other.arrays))
    status, text = run(capsys, "diff", OLD, NEW)
    assert status == 0 and "no case in common" in text
    assert f"only of {OLD}: case (fp32, t4)" in text and f"only of {NEW}: more (fp32, t4)" in text


def test_verify(place, capsys):
    assert run(capsys, "verify") == (0, "2 goldens in golden, 0 files are wrong\n")
    (place / "golden" / "tables").mkdir()
    (place / "golden" / "tables" / "t.json").write_text("{}")
    assert "passed over: 1 files in tables/" in run(capsys, "verify")[1]
    path = next((place / "golden").rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    status, text = run(capsys, "verify")
    assert status == 1 and "the arrays are damaged" in text and "1 files are wrong" in text


def test_prune_says_first_and_removes_when_told(place, capsys):
    assert "nothing to remove" in run(capsys, "prune")[1]
    note_unused("golden", (KEY, type(KEY)("gone", "fp32", "t4", OLD)), ())
    left = next((place / "golden").rglob("*.json")).parent / ".new-0123456789abcdef"
    left.write_text("half")
    status, text = run(capsys, "prune")
    assert status == 0 and f"unused: {KEY.title}" in text and left.name in text and "--yes" in text
    assert "gone" not in text, "what is there no more is none to remove"
    assert left.exists() and len(open_store("golden").keys()) == 2
    assert "removed 1 goldens and 1 files" in run(capsys, "prune", "--yes")[1]
    assert not left.exists() and open_store("golden").keys() == (KEY.of(NEW),)
    assert KEY not in read_unused("golden")


def test_accept_moves_what_failed_into_the_store(place, capsys):
    status, text = run(capsys, "accept", "case")
    assert status == 2 and "no failing check of 'case' left outputs to accept" in text
    rejected = open_rejected("golden")
    rejected.save(golden(0.3))
    assert run(capsys, "accept", "case", "--precision=int8")[0] == 2
    assert run(capsys, "accept", "case", "--precision=fp32") == (0, f"accepted: {KEY.title}\n")
    assert open_store("golden").load(KEY).same_arrays(golden(0.3).arrays)
    assert rejected.keys() == ()


def test_a_cache_elsewhere(place, capsys):
    open_rejected("golden", place / "other").save(golden(0.3))
    assert run(capsys, "accept", "case", f"--cache-dir={place / 'other'}")[0] == 0
