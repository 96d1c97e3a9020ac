"""Conformance, regression and benchmark tests for TensorRT engines, as a pytest plugin."""

from pathlib import Path as _Path

__version__ = "0.1.0"

# The wheel has the suites inside of the package; a checkout, and so an editable install, has them beside it.
# Both answer to `pytest --pyargs pytest_trt.suites`.
_HERE = _Path(__file__).parent
if not (_HERE / "suites").is_dir() and (_HERE.parent / "suites" / "conftest.py").is_file():
    __path__.append(str(_HERE.parent))
