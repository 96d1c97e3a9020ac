"""What the wheel and an editable install give: package, data, and the suites as `pytest_trt.suites`."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

hatchling_build = pytest.importorskip("hatchling.build", reason="needs hatchling: pip install hatchling")

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="these tests need a checkout of pytest-trt"
)


@pytest.fixture(scope="module")
def checkout() -> Iterator[None]:
    """hatchling builds the project of the current folder."""
    before = Path.cwd()
    os.chdir(ROOT)
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def wheel(checkout: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return folder / hatchling_build.build_wheel(str(folder))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked, as pip does it."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LD_LIBRARY_PATH") if key in os.environ}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**kept, **environment}, capture_output=True, text=True
    )


def test_wheel_has_the_package_with_its_data_and_the_suites(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"pytest_trt/__init__.py", "pytest_trt/py.typed", "pytest_trt/hardware/classes.toml"} <= names
    tracked = {f"pytest_trt/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "suites").rglob("*.py")}
    assert tracked and tracked <= names
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pytest_trt").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"pytest_trt", next(top for top in tops if top.endswith(".dist-info"))}


def test_wheel_registers_the_plugin_and_carries_the_licence(site: Path) -> None:
    (info,) = site.glob("*.dist-info")
    entry = ConfigParser()
    entry.read(info / "entry_points.txt")
    assert entry["pytest11"]["trt"] == "pytest_trt.plugin"
    assert "Apache License" in (info / "licenses/LICENSE").read_text()
    metadata = (info / "METADATA").read_text()
    for extra in ("rtx", "tensorrt", "cuda", "bench", "report", "dev"):
        assert f"Provides-Extra: {extra}\n" in metadata


def test_installed_suites_are_collected_by_package_name(site: Path, tmp_path: Path) -> None:
    (tmp_path / "none.ini").write_text("[pytest]\n")
    done = run(
        *("-m", "pytest", "--pyargs", "pytest_trt.suites", "--collect-only", "-q", "-p", "no:cacheprovider"),
        *("-c", "none.ini", "--rootdir", str(tmp_path)),
        cwd=tmp_path,
        PYTHONPATH=str(site),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_operators.py" in done.stdout
    assert str(ROOT) not in done.stdout + done.stderr


def test_installed_package_has_the_suites_of_the_wheel(site: Path, tmp_path: Path) -> None:
    done = run("-c", "import pytest_trt.suites as s; print(s.__file__)", cwd=tmp_path, PYTHONPATH=str(site))
    assert done.stdout.strip() == str(site / "pytest_trt/suites/__init__.py"), done.stderr


def test_editable_install_has_the_suites_of_the_checkout(checkout: None, tmp_path: Path) -> None:
    pytest.importorskip("editables", reason="needs editables: pip install editables")
    name = hatchling_build.build_editable(str(tmp_path))
    site = tmp_path / "site"
    zipfile.ZipFile(tmp_path / name).extractall(site)
    assert not (site / "pytest_trt").exists(), "a copy in site-packages would go stale"
    code = f"import site; site.addsitedir({str(site)!r}); import pytest_trt.suites as s; print(s.__file__)"
    done = run("-c", code, cwd=tmp_path)
    assert done.stdout.strip() == str(ROOT / "suites/__init__.py"), done.stderr


def test_doctor_runs_from_the_wheel(site: Path, tmp_path: Path) -> None:
    done = run("-m", "pytest_trt", "doctor", cwd=tmp_path, PYTHONPATH=str(site))
    assert "--trt-runtime=auto" in done.stdout, done.stderr
