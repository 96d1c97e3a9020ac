"""Goldens over the S3 protocol, on a server of this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_trt.errors import GoldenError, GoldenMissing
from pytest_trt.golden.remote import RemoteFiles
from pytest_trt.golden.store import FileStore, open_store

from .stores import KEY, is_same, make_build, make_golden

OTHER = KEY.of("tensorrt-11.4")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an empty S3 server."""
    pytest.importorskip("s3fs", reason="pip install s3fs 'moto[server]'")
    server_module = pytest.importorskip("moto.server", reason="pip install s3fs 'moto[server]'")
    server = server_module.ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def url(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket's folder; the options come from the environment, as they do for users."""
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = s3fs.S3FileSystem(skip_instance_cache=True)
    if system.exists("goldens"):
        system.rm("goldens", recursive=True)
    system.mkdir("goldens")
    return "s3://goldens/trt"


def test_goldens_come_back_are_replaced_and_go_away(url: str) -> None:
    store = open_store(url)
    assert (store.keys(), store.problems()) == ((), {})
    with pytest.raises(GoldenMissing, match="no golden of conv one"):
        store.load(KEY)
    store.save(make_golden(1))
    store.save(make_build(OTHER))
    assert is_same(open_store(url).load(KEY), make_golden(1))
    store.save(make_golden(2))
    assert is_same(store.load(KEY), make_golden(2))
    assert store.keys() == tuple(sorted([KEY, OTHER]))
    # What another machine may just have written is not taken away by a record.
    assert ["does not name these arrays" in words for words in store.problems().values()] == [True]
    assert len(store.clean()) == 1
    assert store.problems() == {}
    store.remove(KEY)
    assert store.keys() == (OTHER,)


def test_a_damaged_object_is_named(url: str) -> None:
    import s3fs

    store = open_store(url)
    store.save(make_golden())
    system = s3fs.S3FileSystem(skip_instance_cache=True)
    (name,) = [name for name in system.find("goldens") if name.endswith(".npz")]
    system.pipe_file(name, system.cat_file(name)[:-1])
    with pytest.raises(GoldenError, match=r"golden 's3://goldens/trt/.*: the arrays are truncated"):
        store.load(KEY)
    system.pipe_file(f"goldens/trt/{KEY.path}.json", b"")
    with pytest.raises(GoldenError, match="the manifest is empty"):
        store.load(KEY)


def test_a_bucket_that_is_not_there_is_told(url: str) -> None:
    with pytest.raises(GoldenError, match="bucket does not exist"):
        open_store("s3://nowhere/trt").save(make_golden())
    assert open_store("s3://nowhere/trt").keys() == ()


def test_objects_larger_than_a_limit_are_not_fetched(url: str) -> None:
    files = RemoteFiles(url, {})
    FileStore(files).save(make_golden())
    with pytest.raises(GoldenError, match="such a file has up to 10"):
        files.read(f"{KEY.path}.json", 10)


def test_a_server_that_does_not_answer_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 1}}}
    with pytest.raises(GoldenError, match="the goldens at 's3://goldens/trt' cannot be reached"):
        open_store(url, skip_instance_cache=True, **options).load(KEY)
