"""Arguments that are wrong: each is answered with what was expected, and what may have been meant."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from docs import generate
from sweeper.cli import main
from sweeper.cli.arguments import machine_of


def errors_of(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what a command line that is wrong prints, without its usage."""
    with pytest.raises(SystemExit, match="2"):
        sys.exit(main(arguments.split()))
    return " ".join(capsys.readouterr().err.split()).split("error: ")[-1]


def test_overrides_are_not_among_the_required_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert errors_of("run", capsys) == "the following arguments are required: FILE"
    assert errors_of("derive", capsys) == "the following arguments are required: RUN, NUMBER"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("why runs/r x", "NUMBER: expected a whole number, got 'x'"),
        ("logs runs/r 1.5", "NUMBER: expected a whole number, got '1.5'"),
        ("stop runs/r one", "NUMBER: expected a whole number, got 'one'"),
        ("run a.yaml --workers two", "--workers: expected a whole number above 0, got 'two'"),
        ("tensorboard runs/r --port http", "--port: expected a port from 0 to 65535, got 'http'"),
        ("wait runs/r end --timeout long", "--timeout: expected seconds, 0 or more, got 'long'"),
        ("exec --retry often -- true", "--retry: expected a whole number, got 'often'"),
    ],
)
def test_a_number_that_is_none_is_answered_in_words(
    arguments: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert errors_of(arguments, capsys) == f"argument {expected}"


def test_a_run_that_is_not_there_is_answered_with_one_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = "expected the directory of a run (it has a spec.json)"
    assert errors_of("status runs/none", capsys) == f"runs/none: {expected}, as in runs/warmup"
    for name in ("cifar", "mnist"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "spec.json").write_text("{}")
    (tmp_path / "runs" / "notes").mkdir()
    assert errors_of("status runs/none", capsys) == f"runs/none: {expected}, as in runs/cifar"
    assert errors_of("status runs/minst", capsys) == f"runs/minst: {expected}; did you mean runs/mnist?"
    assert errors_of("why mnist 0", capsys) == f"mnist: {expected}; did you mean runs/mnist?"
    assert errors_of("verify runs/notes", capsys) == f"runs/notes: {expected}, as in runs/cifar"


@pytest.mark.parametrize(
    "words",
    [
        ["run", "sweep.yaml"],
        ["resume", "runs/s", "0"],
        ["revive", "runs/s", "0"],
        ["exempt", "runs/s", "0"],
        ["add", "runs/s", "lr=1"],
        ["derive", "runs/s", "0", "lr=1"],
    ],
)
def test_every_command_that_may_run_a_sweep_has_the_options_for_its_slots(words: list[str]) -> None:
    name, *others = words
    parser = generate.commands()[name]
    usual, asked = (machine_of(parser.parse_args(one)) for one in (others, [*others, "--workers", "3", "--share"]))
    assert (usual.workers, usual.share) == (None, False)
    assert (asked.workers, asked.share) == (3, True)
