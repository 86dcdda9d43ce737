"""`sweeper --help`: every command once, in its group; and the texts of all commands in one form."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import pytest

import sweeper
from docs import generate
from sweeper.cli import GROUPS, main

ALIASES = {"spare"}


def commands() -> dict[str, argparse.ArgumentParser]:
    return {name: parser for name, parser in generate.commands().items() if name not in ALIASES}


def helps() -> Iterator[tuple[str, str]]:
    for name, parser in commands().items():
        for action in parser._actions:
            if not isinstance(action, argparse._HelpAction):
                yield f"{name} {action.metavar or action.dest}", action.help or ""


def test_every_command_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(commands())


def test_the_help_shows_the_groups_a_line_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:-1] for line in lines if re.fullmatch(r"(?!options)[a-z ]+:", line)] == list(GROUPS)
    for name in commands():
        assert len([line for line in lines if re.match(rf"  {name} +[A-Z]", line)]) == 1
    assert max(map(len, lines)) <= 80


def test_a_command_is_described_by_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for name, parser in commands().items():
        assert re.fullmatch(r"[A-Z].*\.", parser.description or ""), name
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert capsys.readouterr().out.startswith("usage: sweeper check ")


@pytest.mark.parametrize(("argument", "text"), list(helps()))
def test_an_argument_is_described_and_its_default_ends_the_text(argument: str, text: str) -> None:
    assert text, argument
    assert not text.endswith(".")
    assert "(default" not in text or text.endswith(")")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sweeper {sweeper.__version__}\n"
