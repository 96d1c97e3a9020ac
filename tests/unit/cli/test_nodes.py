"""`python -m pytest_trt nodes`: make, compare and show tables, with exit statuses."""

from __future__ import annotations

import argparse
from dataclasses import replace

import pytest

from pytest_trt.cases import nodes_table
from pytest_trt.cases.nodes_table import Row, Table, read_table, write_table
from pytest_trt.cli import nodes
from pytest_trt.errors import RuntimeMissingError, UsageError
from pytest_trt.runtime import load

TABLE = Table("build", "tensorrt_rtx", "1.7.1.116", "l4", "1.23.2", {"test_abs": Row("Abs", "builds")})


def main(*arguments):
    parser = argparse.ArgumentParser()
    nodes.add_arguments(parser)
    return nodes.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "old.json"
    write_table(TABLE, path)
    return path


def test_tables_that_are_equal_and_one_that_lost_a_case(kept, tmp_path, capsys):
    assert main("diff", kept, kept) == 0
    assert "no case ends otherwise" in capsys.readouterr().out
    other = tmp_path / "new.json"
    write_table(replace(TABLE, rows={"test_abs": Row("Abs", "refused", "gone")}), other)
    assert main("diff", kept, other) == 1
    assert "lost: 1\n  lost: test_abs: builds -> refused (gone)" in capsys.readouterr().out
    assert main("diff", other, kept) == 0
    assert "gained: 1" in capsys.readouterr().out


def test_many_changes_are_counted(kept, tmp_path, capsys):
    other = tmp_path / "new.json"
    write_table(replace(TABLE, rows={f"test_{n:03}": Row("N", "builds") for n in range(50)}), other)
    assert main("diff", kept, other) == 1
    assert "and 10 more: --all" in capsys.readouterr().out
    main("diff", kept, other, "--all")
    assert "test_049" in capsys.readouterr().out


def test_a_table_is_shown_by_operator(kept, capsys):
    assert main("show", kept) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Abs  1 builds"


def test_wrong_use_is_told(kept, tmp_path):
    with pytest.raises(UsageError, match="nodes diff takes 2 files, not 1"):
        main("diff", kept)
    with pytest.raises(UsageError, match="--jobs=0"):
        main("--jobs", 0)
    other = tmp_path / "new.json"
    write_table(replace(TABLE, kind="execute"), other)
    with pytest.raises(UsageError, match="cannot be compared"):
        main("diff", kept, other)


def test_who_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(load, "find_builder", lambda settings: None)
    with pytest.raises(RuntimeMissingError, match="no TensorRT-RTX builds here"):
        main("--runtime", "rtx")


def test_a_made_table_is_written_and_fails_where_a_case_is_wrong(tmp_path, monkeypatch, capsys):
    ends = {"test_abs": Row("Abs", "supported", "conforms"), "test_stft": Row("STFT", "wrong", "off")}
    asked = {}

    def make(settings, rt, kind, cases, **options):
        asked.update(kind=kind, names=[case.name for case in cases], **options)
        return Table(kind, rt.product, rt.plays, rt.gpu.name, "1.23.2", ends)

    monkeypatch.setattr(nodes_table, "make_table", make)
    monkeypatch.setattr("pytest_trt.cases.nodes.select", lambda pattern: ())
    path = tmp_path / "made.json"
    assert main("--runtime", "emulator", "--out", path, "--jobs", 1) == 0
    told = capsys.readouterr().out
    assert "wrong as known: test_stft" in told and "1 supported, 1 wrong" in told and str(path) in told
    assert read_table(path).rows == ends and asked["kind"] == "execute" and asked["jobs"] == 1
    ends["test_abs"] = Row("Abs", "crashed", "signal SIGSEGV")
    assert main("--runtime", "emulator") == 1
    assert "crashed: test_abs: signal SIGSEGV" in capsys.readouterr().out
