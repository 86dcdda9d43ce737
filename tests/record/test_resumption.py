"""The arguments to resume: put into the command as one word, and taken out of it where the checkpoint exists."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweeper.errors import RecordError
from sweeper.record.resumption import PLACE, Resumption, is_resumption, resumption, resumption_of, with_resume_args
from sweeper.record.storage.layout import AttemptDir

ARGS = ["--resume", "${trial:dir}/last.pt"]


@pytest.fixture
def values(tmp_path: Path) -> dict[str, str]:
    """The macros of a trial with characters in its path that are wildcards elsewhere."""
    folder = tmp_path / "runs[1]" / "0000"
    folder.mkdir(parents=True)
    return {"dir": str(folder), "number": "0", "name": "0000_lr=1", "seed": "7"}


def touch(path: Path, *, time: int, text: str = "x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time, time))
    return str(path)


def test_the_arguments_are_one_word_at_their_place_or_at_the_end() -> None:
    *before, word = with_resume_args(["train", "--lr=1"], ARGS, ARGS[1])
    assert (before, is_resumption(word)) == (["train", "--lr=1"], True)
    assert with_resume_args(["train", PLACE, "--lr=1"], ARGS, ARGS[1]) == ["train", word, "--lr=1"]
    assert with_resume_args(["train", PLACE, "--lr=1"], [], "") == ["train", "--lr=1"]
    assert with_resume_args(["train"], [], "") == ["train"]
    other = [
        "train",
        PLACE,
        "${resume_args",
        "${trial:dir}",
        "${resume_args:x}",
        "${resume_args:1}",
        "${resume_args:[1, 2]}",
    ]
    assert not any(map(is_resumption, other))


def test_without_a_checkpoint_there_are_no_arguments(values: dict[str, str]) -> None:
    (word,) = with_resume_args([], ARGS, ARGS[1])
    last = f"{values['dir']}/last.pt"
    assert resumption_of(word, values, {}) == Resumption(path=last)
    touch(Path(last), time=1, text="")
    assert resumption_of(word, values, {}) == Resumption(path=last), "an empty file was not written to its end"
    touch(Path(last), time=1)
    assert resumption_of(word, values, {}) == Resumption(path=last, args=("--resume", last))


def test_of_several_checkpoints_the_newest_counts(values: dict[str, str]) -> None:
    folder, pattern = Path(values["dir"]), "${trial:dir}/checkpoint-*"
    args = [f"--from={pattern}", "--name", "${trial:name}"]
    touch(folder / "checkpoint-900/model.pt", time=1)
    touch(folder / "checkpoint-1000/model.pt", time=1)
    (folder / "checkpoint-1100").mkdir()  # killed before anything was saved
    for name, time in (("checkpoint-900", 5), ("checkpoint-1000", 5), ("checkpoint-1100", 9)):
        os.utime(folder / name, (time, time))
    newest = (f"--from={folder}/checkpoint-1000", "--name", "0000_lr=1")
    assert resumption(args, pattern, values).args == newest, "by the number, where the times are equal"
    os.utime(folder / "checkpoint-900", (7, 7))
    assert resumption(args, pattern, values).args[0] == f"--from={folder}/checkpoint-900"


def test_the_value_of_a_variable_is_in_no_record(values: dict[str, str], tmp_path: Path) -> None:
    found = touch(tmp_path / "secret/0/last-3.pt", time=1)
    path = "${envvar:PLACE}/${trial:number}/last-*.pt"
    variables = {"${envvar:PLACE}": str(tmp_path / "secret")}
    assert resumption(["--resume", path], path, values, variables).args[1] == "${envvar:PLACE}/0/last-3.pt"
    assert found.endswith("secret/0/last-3.pt")
    assert resumption(["--resume", path], path, values).args == ()


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    attempt = AttemptDir(tmp_path)
    assert Resumption.read(attempt) is None
    began = Resumption(path="/a/last.pt", args=("--resume", "/a/last.pt"))
    began.write(attempt)
    assert Resumption.read(attempt) == began
    for damaged in ("{", "[]", '{"path": 1, "args": []}', '{"path": "a", "args": [1]}'):
        attempt.resumption.write_text(damaged)
        with pytest.raises(RecordError, match=r"resume\.json: expected"):
            Resumption.read(attempt)
