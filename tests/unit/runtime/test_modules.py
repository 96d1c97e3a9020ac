"""Both layouts of the wheels, and a library that is missing or broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_trt.records import Missing
from pytest_trt.runtime import modules
from pytest_trt.runtime.modules import Found, find

BODY = "__version__ = '9.9.9'\nclass Builder: pass\nclass Runtime: pass\nclass ILogger: pass\n"
NAMES = (
    "tensorrt",
    "tensorrt_bindings",
    "tensorrt_rtx",
    "tensorrt_rtx_bindings",
    "onnxruntime_ep_nv_tensorrt_rtx",
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is the only place where a TensorRT could be."""
    real = [path for path in sys.path if not any((Path(path) / name).exists() for name in NAMES)]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *real])
    monkeypatch.setattr(modules, "library_version", lambda product: None)
    for name in list(sys.modules):
        if name.split(".")[0] in NAMES:
            monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    for name in list(sys.modules):
        if name.split(".")[0] in NAMES:
            del sys.modules[name]


def write(site: Path, **modules: str) -> None:
    for name, body in modules.items():
        (site / f"{name}.py").write_text(body)


def test_nothing_installed(site: Path) -> None:
    got = find("tensorrt")
    assert got == Missing(
        "tensorrt", "ImportError: No module named 'tensorrt'", 'pip install "pytest-trt[tensorrt]"'
    )


def test_the_usual_name_and_the_bindings_name(site: Path) -> None:
    write(site, tensorrt_bindings=BODY)
    got = find("tensorrt")
    assert isinstance(got, Found) and got.trt.__name__ == "tensorrt_bindings"
    write(site, tensorrt=BODY)
    sys.modules.pop("tensorrt_bindings")
    got = find("tensorrt")
    assert isinstance(got, Found) and (got.trt.__name__, got.version) == ("tensorrt", "9.9.9")
    assert got.title == "TensorRT 9.9.9"


def test_a_library_that_is_missing_is_told_in_its_own_words(site: Path) -> None:
    write(site, tensorrt="raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    got = find("tensorrt")
    assert isinstance(got, Missing)
    assert got.reason == "ImportError: libnvinfer.so.10: cannot open shared object file"


def test_a_folder_of_that_name_is_not_tensorrt(site: Path) -> None:
    (site / "tensorrt").mkdir()
    got = find("tensorrt")
    assert isinstance(got, Missing) and "AttributeError" in got.reason


def test_the_index_wheels_of_rtx_load_the_library_first(site: Path) -> None:
    needs = (
        "import sys\nif 'onnxruntime_ep_nv_tensorrt_rtx' not in sys.modules: raise ImportError('no lib')\n"
    )
    write(site, tensorrt_rtx_bindings=needs + BODY)
    missing = find("tensorrt_rtx")
    assert isinstance(missing, Missing) and missing.reason == "ImportError: no lib"
    write(site, onnxruntime_ep_nv_tensorrt_rtx="")
    got = find("tensorrt_rtx")
    assert isinstance(got, Found) and got.trt.__name__ == "tensorrt_rtx_bindings"


def test_nvidias_own_rtx_wheel(site: Path) -> None:
    write(site, tensorrt_rtx=BODY)
    got = find("tensorrt_rtx")
    assert isinstance(got, Found) and got.title == "TensorRT-RTX 9.9.9"


def test_a_library_of_another_minor_version_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(site, tensorrt_rtx=BODY)
    monkeypatch.setattr(modules, "library_version", lambda product: (9, 9, 1))
    assert isinstance(find("tensorrt_rtx"), Found)
    monkeypatch.setattr(modules, "library_version", lambda product: (9, 8, 9))
    got = find("tensorrt_rtx")
    assert isinstance(got, Missing)
    assert got.reason == "bindings 9.9.9 with library 9.8.9: major and minor version must agree"


@pytest.mark.parametrize(
    ("product", "number", "want"),
    [("tensorrt", 8601, (8, 6, 1)), ("tensorrt", 101303, (10, 13, 3)), ("tensorrt_rtx", 10701, (1, 7, 1))],
)
def test_one_integer_is_read_by_product(
    product: str, number: int, want: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SimpleNamespace(getInferLibVersion=lambda: number)
    monkeypatch.setattr(modules.ctypes, "CDLL", lambda soname, mode: library)
    assert modules.library_version(product) == want


def test_a_library_that_is_not_loaded_has_no_version() -> None:
    assert modules.library_version("tensorrt") is None
