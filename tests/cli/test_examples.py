"""`sweeper init --example`: the shipped examples, written where the user is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sweeper.cli import examples, main
from sweeper.cli.examples import EXAMPLES

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_written_with_its_script_and_has_no_mistakes(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = EXAMPLES[name].files
    assert main(["init", "--example", name]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.endswith(": written")] == [f"{file}: written" for file in files]
    assert out.splitlines()[-1] == f"Next: sweeper run {files[0]}"
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    for file in files:
        text = Path(file).read_text("utf-8")
        assert "experiments/" not in text
        assert "$schema" not in text
        assert len(text.splitlines()) >= len((ROOT / "experiments" / file).read_text("utf-8").splitlines()) - 1
    assert main(["check", files[0]]) == 0


def test_an_example_can_be_written_into_a_directory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--out", "new one/deep", "--example", "plain"]) == 0
    assert Path("new one/deep/plain_loop.py").exists()
    assert capsys.readouterr().out.endswith("Next: cd 'new one/deep' && sweeper run plain_loop.yaml\n")


def test_a_file_that_exists_is_kept_and_then_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plain_loop.py").write_text("mine")
    assert main(["init", "--example", "plain"]) == 2
    assert Path("plain_loop.py").read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == ["plain_loop.py"]
    assert capsys.readouterr().err.startswith("plain_loop.py: already there, so nothing was written.")


def test_the_extra_that_an_example_needs_is_named_and_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {name: example.extra[0] for name, example in EXAMPLES.items() if example.extra is not None}
    assert named == {"warmup": "text", "trainer": "trainer", "lightning": "lightning"}
    for name, extra in named.items():
        assert f"extra {extra}" in examples.note(name)
    monkeypatch.setitem(sys.modules, "lightning", None)
    main(["init", "--example", "lightning"])
    assert 'First run: pip install "sweeper[lightning]"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "sweeper init: expected a script, as in `sweeper init train.py`, or --example NAME; got neither\n"),
        (["--example", "plain", "train.py"], "sweeper init --example: expected no script beside it, got train.py\n"),
    ],
)
def test_a_script_or_an_example_is_wanted(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *words]) == 2
    assert capsys.readouterr().err == expected
