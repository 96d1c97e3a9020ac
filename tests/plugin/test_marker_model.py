"""`trt_model(source, profile=...)`: the model of `engine` and `context`."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


def test_a_path_starts_beside_the_test_file(trt: Trt) -> None:
    below = trt.pytester.mkdir("below")
    (below / "m.onnx").write_bytes(b"model")
    (below / "test_b.py").write_text("""
import pytest
from pathlib import Path
@pytest.mark.trt_model("m.onnx", profile={"x": ((1, 3), [4, 3], (8, 3))})
@pytest.mark.trt_precision("fp32")
def test_a(engine):
    model, precision, profile = engine.asked
    assert model == Path(__file__).with_name("m.onnx")
    assert precision == "fp32"
    assert profile == {"x": ((1, 3), (4, 3), (8, 3))}
""")
    trt.run("below").assert_outcomes(passed=1)


def test_else_below_the_root_folder(trt: Trt) -> None:
    trt.pytester.path.joinpath("m.onnx").write_bytes(b"model")
    below = trt.pytester.mkdir("below")
    (below / "test_b.py").write_text("""
import pytest
@pytest.mark.trt_model("m.onnx")
def test_a(engine): assert engine.asked[0].read_bytes() == b"model"
""")
    trt.run("below", f"--rootdir={trt.pytester.path}").assert_outcomes(passed=3)


@pytest.mark.parametrize("source", ["b'bytes'", "lambda: b'bytes'", "source=b'bytes'"])
def test_bytes_and_callables(trt: Trt, source: str) -> None:
    trt.tests(f"""
        import pytest
        @pytest.mark.trt_model({source})
        def test_a(engine): assert engine.asked[0] == b"bytes"
    """)
    if source.startswith("lambda"):  # a lone callable without keywords would be taken for the test itself
        trt.tests("""
            import pytest
            @pytest.mark.trt_model(source=lambda: b"bytes")
            def test_a(engine): assert engine.asked[0] == b"bytes"
        """)
    trt.run("--trt-precision=int8").assert_outcomes(passed=1)


def test_a_callable_may_give_a_path(trt: Trt) -> None:
    below = trt.pytester.mkdir("below")
    (below / "m.onnx").write_bytes(b"model")
    (below / "test_b.py").write_text("""
import pytest
from pathlib import Path
@pytest.mark.trt_model(source=lambda: "m.onnx")
def test_a(engine): assert engine.asked[0] == Path(__file__).with_name("m.onnx")
@pytest.mark.trt_model(source=lambda: "no.onnx")
def test_b(engine): pass
""")
    result = trt.run("below", "--trt-precision=int8")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*no such file: model 'no.onnx' of marker trt_model*"])


def test_a_model_proto(trt: Trt) -> None:
    trt.tests("""
        import pytest
        from onnx import ModelProto
        @pytest.mark.trt_model(ModelProto(ir_version=9))
        def test_a(engine): assert engine.asked[0].ir_version == 9
    """)
    trt.run("--trt-precision=int8").assert_outcomes(passed=1)


def test_a_missing_file_is_told_with_the_places(trt: Trt) -> None:
    trt.tests("import pytest\n@pytest.mark.trt_model('no.onnx')\ndef test_a(engine): pass")
    result = trt.run("--trt-precision=int8")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*no such file: model 'no.onnx' of marker trt_model*", "*looked for *no.onnx"]
    )


def test_the_closest_counts(trt: Trt) -> None:
    trt.tests("""
        import pytest
        pytestmark = pytest.mark.trt_model(b"far")
        @pytest.mark.trt_model(b"near")
        def test_a(engine): assert engine.asked[0] == b"near"
    """)
    trt.run("--trt-precision=int8").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "one model is needed, 0 are given"),
        ("'a.onnx', 'b.onnx'", "one model is needed, 2 are given"),
        ("7", "int is no model"),
        ("'a.onnx', shape=3", "unknown argument 'shape'"),
        ("'a.onnx', profile=3", "profile is no mapping"),
        ("'a.onnx', profile={}", "profile is no mapping"),
        ("'a.onnx', profile={'x': (1, 2)}", "profile of 'x' is not (min, opt, max)"),
        ("'a.onnx', profile={'x': ((1,), (2,), (3, 4))}", "profile of 'x' is not min <= opt <= max"),
        ("'a.onnx', profile={'x': ((4,), (2,), (3,))}", "profile of 'x' is not min <= opt <= max"),
    ],
)
def test_wrong_arguments(trt: Trt, arguments: str, words: str) -> None:
    trt.tests(f"import pytest\n@pytest.mark.trt_model({arguments})\ndef test_a(engine): pass")
    told = trt.refusal()
    assert words in told
    if "did you mean" not in told:
        assert "mend   write trt_model(source, profile={name: (min, opt, max)})" in told
