"""Where a tokenizer's name leads: a directory, a cache, the hub."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sweeper.errors import DataUnavailable, UsageError
from sweeper.trainers.data import tokenizer, wordpiece
from sweeper.trainers.data.network import TotalTimeout

VOCABULARY = [*wordpiece.SPECIAL, "a", "cat", "Cat", "##s"]


def _write(directory: Path, *, ending: str = "\n") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_bytes("".join(piece + ending for piece in VOCABULARY).encode())
    return directory


def _ids(name: str, cache: Path, text: str) -> list[int]:
    source = tokenizer.locate(name, cache=cache, timeout=TotalTimeout())
    return list(source.load([]).encode(text).ids)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name it overrides
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub on this machine; returns where it keeps its files."""
    root = tmp_path / "served"
    root.mkdir()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        yield root
        server.shutdown()


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_directory_with_a_vocabulary_is_a_tokenizer(tmp_path: Path, cache: Path, ending: str) -> None:
    directory = _write(tmp_path / "an odd näme", ending=ending)
    assert _ids(str(directory), cache, "A Cats") == [2, 5, 6, 8, 3]


def test_letters_keep_their_case_where_the_configuration_says_so(tmp_path: Path, cache: Path) -> None:
    directory = _write(tmp_path / "cased")
    (directory / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert _ids(str(directory), cache, "a Cat") == [2, 5, 7, 3]


def test_a_complete_tokenizer_goes_before_a_vocabulary(tmp_path: Path, cache: Path) -> None:
    directory = _write(tmp_path / "both")
    wordpiece.bert_tokenizer(VOCABULARY, lowercase=False).save(str(directory / "tokenizer.json"))
    assert _ids(str(directory), cache, "a Cat") == [2, 5, 7, 3]


def test_the_stamp_changes_with_the_file(tmp_path: Path, cache: Path) -> None:
    directory = _write(tmp_path / "growing")
    before = tokenizer.locate(str(directory), cache=cache, timeout=TotalTimeout()).stamp
    with (directory / "vocab.txt").open("a") as file:
        file.write("dog\n")
    assert tokenizer.locate(str(directory), cache=cache, timeout=TotalTimeout()).stamp != before


@pytest.mark.parametrize(
    ("name", "content"), [("vocab.txt", "a\ncat\n"), ("tokenizer.json", "{}"), ("vocab.txt", b"\xff")]
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, cache: Path, name: str, content: str | bytes) -> None:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match=f"{name}: the file cannot be read as a tokenizer"):
        _ids(str(tmp_path), cache, "a")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("/no/such/place", "is not a directory"), ("../nothing/here", "is not a directory"), (".", "contains neither")],
)
def test_a_missing_directory_is_unavailable(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataUnavailable, match=reason):
        tokenizer.locate(name, cache=cache, timeout=TotalTimeout())


def test_the_hubs_cache_is_used_without_a_network(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = tmp_path / "hub" / "models--some--bert"
    _write(model / "snapshots" / "0123abcd")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("0123abcd")
    assert _ids("some/bert", cache, "a cat") == [2, 5, 6, 3]
    with pytest.raises(DataUnavailable, match="HF_HUB_OFFLINE is set"):
        tokenizer.locate("another/bert", cache=cache, timeout=TotalTimeout())


def test_a_download_is_kept(hub: Path, cache: Path) -> None:
    _write(hub / "some" / "bert" / "resolve" / "main")
    assert _ids("some/bert", cache, "a cat") == [2, 5, 6, 3]
    (hub / "some" / "bert" / "resolve" / "main" / "vocab.txt").unlink()
    assert _ids("some/bert", cache, "a cat") == [2, 5, 6, 3]


def test_a_model_that_the_hub_does_not_have_is_unavailable(hub: Path, cache: Path) -> None:
    with pytest.raises(DataUnavailable, match="no public model of this name"):
        tokenizer.locate("no/bert", cache=cache, timeout=TotalTimeout())
