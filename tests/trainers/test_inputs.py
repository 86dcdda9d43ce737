"""Choosing data: the first that can be had, quickly, and in one line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeper.errors import DataUnavailable, UsageError
from sweeper.trainers.data import inputs, synthetic

REQUEST = {"dataset": ["20newsgroups", "synthetic-topics"], "tokenizer": ["bert-base-uncased", "wordpiece"]}


def _prepare(request: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweeper.trainers.prepare"],
        check=False,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture
def empty(tmp_path: Path, cache: Path) -> dict[str, str]:
    """The environment of a machine that has no data yet."""
    return {"SCIKIT_LEARN_DATA": str(tmp_path / "no data"), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": ""}


def test_the_first_available_source_is_used() -> None:
    said: list[str] = []
    assert inputs.first_available("dataset", ["a", "b"], str.upper, said.append) == "A"
    assert said == []


def _only_c(name: str) -> str:
    if name != "c":
        raise DataUnavailable(f"no {name} here")
    return name


def test_unavailable_sources_are_reported_in_one_line() -> None:
    said: list[str] = []
    assert inputs.first_available("dataset", ["a", "b", "c", "d"], _only_c, said.append) == "c"
    assert said == ["dataset: using c, because these are unavailable: a (no a here), b (no b here)"]


def test_if_no_source_is_available_each_is_named_with_its_reason() -> None:
    with pytest.raises(DataUnavailable, match=r"^dataset: none is available: a \(no a here\), b \(no b here\)$"):
        inputs.first_available("dataset", ["a", "b"], _only_c, print)


def test_a_dataset_that_does_not_exist_is_a_mistake(cache: Path) -> None:
    with pytest.raises(UsageError, match="expected one of 20newsgroups, synthetic-topics, got '20newsgroup'"):
        inputs.choose(["20newsgroup", "synthetic-topics"], ["wordpiece"], cache=cache, say=print)


def test_a_second_trial_does_not_read_the_texts(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode() -> Path:
        choice = inputs.choose(["synthetic-topics"], ["wordpiece"], cache=cache, say=print)
        return inputs.encode(choice, [8], cache=cache)[8].path

    first = encode()
    monkeypatch.setattr(synthetic, "_language", None)
    assert encode() == first
    for entry in (cache / "index").iterdir():
        entry.write_text("torn")
    with pytest.raises(TypeError):  # the index is of no use: the texts would have to be made
        encode()


def test_an_unwritable_cache_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    choice = inputs.choose(["synthetic-topics"], ["wordpiece"], cache=tmp_path / "file", say=print)
    with pytest.raises(UsageError, match="Set SWEEPER_CACHE"):
        inputs.encode(choice, [8], cache=tmp_path / "file")


def test_a_silent_network_gives_way_within_ten_seconds(empty: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        done = _prepare(REQUEST, https_proxy=proxy, http_proxy=proxy, no_proxy="", **empty)
        took = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["dataset"], answer["tokenizer"]) == ("synthetic-topics", "wordpiece")
    assert sum("unavailable: 20newsgroups" in line for line in done.stderr.splitlines()) == 1
    assert sum("unavailable: bert-base-uncased" in line for line in done.stderr.splitlines()) == 1
    assert took < 10


def test_prepare_answers_with_provenance(cache: Path) -> None:
    done = _prepare({"dataset": ["synthetic-topics"], "tokenizer": ["wordpiece"], "max_length": [8, 16]})
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["provenance"]["dataset"]["sha256"] == synthetic.load().sha256
    assert answer["provenance"]["dataset"]["train"] == 2034
    assert answer["provenance"]["tokenizer"]["vocab_size"] > 1000
    assert len(list((cache / "encodings").iterdir())) == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "using dataset synthetic-topics",
        "using tokenizer wordpiece",
    ]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([], "expected a JSON object"),
        ({"datasets": []}, "expected dataset, tokenizer and max_length"),
        ({"max_length": [0]}, "max_length: expected a whole number from 3"),
        ({"dataset": ["nothing"]}, "dataset: expected one of"),
    ],
)
def test_prepare_refuses_without_a_traceback(cache: Path, request_: object, message: str) -> None:
    done = _prepare(request_)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_preparing_needs_no_torch(cache: Path) -> None:
    check = """
import sys
from pathlib import Path
from sweeper.trainers import prepare
from sweeper.trainers.data import inputs
choice = inputs.choose(["synthetic-topics"], ["wordpiece"], cache=Path(sys.argv[1]), say=print)
inputs.encode(choice, [8], cache=Path(sys.argv[1]))
print([name for name in ("torch", "transformers", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", check, str(cache)], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
