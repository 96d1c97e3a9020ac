"""The plan cache keeps what it wrote, privately, and loads nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_trt.errors import SettingsError
from pytest_trt.records import LayerInfo, LogLine
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.plans import PlanCache, default_folder

from .external_model import save_external
from .fake_trt import FakeTrt, fake_runtime

KEY = "0" * 64
OTHER = "1" * 64
PLAN = Plan(
    b"bytes\nof a plan",
    (LogLine("WARNING", "w"),),
    2.0,
    "printed",
    frozenset({"TF32"}),
    (LayerInfo("a", "conv", ("fp16",), ("fp16",)),),
)


def test_a_stored_plan_comes_back(tmp_path: Path) -> None:
    PlanCache(tmp_path).store(KEY, PLAN)
    got = PlanCache(tmp_path).load(KEY)
    assert got is not None
    assert (got.data, got.log, got.captured, got.flags, got.layers, got.digest) == (
        PLAN.data,
        PLAN.log,
        PLAN.captured,
        PLAN.flags,
        PLAN.layers,
        PLAN.digest,
    )
    assert got.seconds == 0.0


def test_nothing_is_created_before_the_first_store(tmp_path: Path) -> None:
    assert PlanCache(tmp_path).load(KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_folder_and_files_are_private(tmp_path: Path) -> None:
    root = tmp_path / "plans"
    root.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    PlanCache(tmp_path).store(KEY, PLAN)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert sorted(path.name for path in root.iterdir()) == [f"{KEY}.plan", "secret"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in root.iterdir())


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "foreign", "renamed"])
def test_a_file_that_it_did_not_write_is_removed_and_not_loaded(tmp_path: Path, harm: str) -> None:
    cache = PlanCache(tmp_path)
    cache.store(KEY, PLAN)
    path = cache.root / f"{KEY}.plan"
    blob = path.read_bytes()
    if harm == "renamed":
        path = path.rename(cache.root / f"{OTHER}.plan")
    else:
        changed = {
            "flip": blob[:30] + bytes([blob[30] ^ 1]) + blob[31:],
            "cut": blob[:-1],
            "empty": b"",
            "foreign": b"another program's plan" * 9,
        }
        path.write_bytes(changed[harm])
    assert cache.load(path.stem) is None
    assert not path.exists()


def test_a_secret_that_others_can_read_is_no_secret(tmp_path: Path) -> None:
    cache = PlanCache(tmp_path)
    cache.store(KEY, PLAN)
    (cache.root / "secret").chmod(0o644)
    assert cache.load(KEY) is None
    with pytest.raises(SettingsError, match="secret of the plan cache"):
        cache.store(KEY, PLAN)


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "A" * 64, KEY + "\n", "0" * 63])
def test_only_content_keys_become_names(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a content key"):
        PlanCache(tmp_path).load(key)


def test_a_folder_that_cannot_be_written_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        PlanCache(tmp_path / "file").store(KEY, PLAN)


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(SettingsError, match="belongs to another user"):
        PlanCache(tmp_path).store(KEY, PLAN)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PlanCache(tmp_path)
    cache.store(KEY, PLAN)

    def fail(source: str, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(SettingsError, match="disk full"):
        cache.store(OTHER, PLAN)
    assert sorted(path.name for path in cache.root.iterdir()) == [f"{KEY}.plan", "secret"]


def test_a_plan_shows_its_size_and_digest() -> None:
    assert repr(PLAN) == f"Plan(15 bytes, {PLAN.digest[:12]})"


def test_a_second_build_of_the_same_request_comes_from_the_cache(tmp_path: Path) -> None:
    profile = {"x": ((1, 3), (2, 3), (4, 3))}
    rt = fake_runtime(FakeTrt())
    request = BuildRequest(b"onnx", profile=profile)
    first = build_plan(rt, request, PlanCache(tmp_path))
    broken = fake_runtime(FakeTrt(fail="build_serialized_network"))
    assert build_plan(broken, request, PlanCache(tmp_path)).digest == first.digest


def test_plans_of_the_emulator_are_not_kept(tmp_path: Path) -> None:
    rt = fake_runtime(FakeTrt(), emulated=True)
    build_plan(rt, BuildRequest(b"onnx", profile={"x": ((1, 3), (2, 3), (4, 3))}), PlanCache(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_every_field_of_a_request_is_in_its_key(tmp_path: Path) -> None:
    external = save_external(tmp_path)
    rt = fake_runtime(FakeTrt())
    base = BuildRequest(b"onnx")
    shape = ((1,), (2,), (3,))
    variants = [
        BuildRequest(b"onnx2"),
        BuildRequest(b"onnx", strongly_typed=False),
        BuildRequest(b"onnx", flags=frozenset({"FP16"})),
        BuildRequest(b"onnx", clear=frozenset()),
        BuildRequest(b"onnx", profile={"x": shape}),
        BuildRequest(b"onnx", profile={"x": shape}, more_profiles=({"x": shape},)),
        BuildRequest(b"onnx", outputs=("a",)),
        BuildRequest(b"onnx", workspace_bytes=1),
        BuildRequest(b"onnx", detailed=False),
        BuildRequest(b"onnx", shown=True),
        BuildRequest(b"onnx", debug=("a",)),
        BuildRequest(b"onnx", sm=86),
        BuildRequest(b"onnx", dynamic_ranges={"x": 1.0}),
        BuildRequest(b"onnx", dummy_range=1.0),
        BuildRequest(b"onnx", constraints="prefer"),
        BuildRequest(b"onnx", layer_types={"a": "fp32"}),
        BuildRequest(b"onnx", output_types={"a": "fp32"}),
        BuildRequest(b"onnx", model_path=str(external)),
    ]
    keys = [request.key(rt) for request in (base, *variants)]
    keys += [base.key(fake_runtime(FakeTrt(), plays="tensorrt-10.0.1"))]
    assert len(set(keys)) == len(keys)
    assert len(BuildRequest.__dataclass_fields__) == len(variants)  # a new field needs a line above


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "pytest-trt"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path(os.path.expanduser("~")) / ".cache" / "pytest-trt"
