"""`--trt-cache-dir`: the folder of the plan cache."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence


def test_precedence(trt: Trt) -> None:
    here = str(trt.pytester.path)
    values = (("plans", f"{here}/plans"), ("/var/plans", "/var/plans"), ("p/q", f"{here}/p/q"))
    check_precedence(trt, "--trt-cache-dir", None, values)


def test_empty(trt: Trt) -> None:
    assert "is empty" in trt.refusal("--trt-cache-dir=")


def test_an_ini_key_starts_beside_the_ini_file(trt: Trt) -> None:
    """Also when pytest runs in a folder below."""
    root = trt.pytester.path
    trt.ini("trt_cache_dir = plans\n")
    below = trt.pytester.mkdir("below")
    (below / "test_b.py").write_text(
        f"def test_b(trt_settings): assert trt_settings.cache_dir == {str(root / 'plans')!r}\n"
    )
    trt.monkeypatch.chdir(below)
    trt.run("test_b.py").assert_outcomes(passed=1)
    assert not (root / "plans").exists()
