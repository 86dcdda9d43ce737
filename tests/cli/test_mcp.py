"""`sweeper mcp` without its library, its skill file, and options that do not fit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_the_sdk_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("sweeper.cli.steer.mcp.find_spec", lambda name: None if name == "mcp" else find(name))
    assert main(["mcp"]) == 2
    assert 'Run: pip install "sweeper[agent]"' in capsys.readouterr().err


def test_the_skill_file_is_printed_without_the_sdk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sweeper.cli.steer.mcp.find_spec", lambda _: None)
    assert main(["mcp", "--skill"]) == 0
    assert capsys.readouterr().out.startswith("---\nname: sweeper\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--max-trials", "3"], "expected --act too"),
        (["--directory", "nowhere"], "nowhere: expected a directory to work in"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mcp", *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_a_short_token_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SWEEPER_TOKEN", "short")
    assert main(["mcp", "--http"]) == 2
    assert "SWEEPER_TOKEN: expected at least 16 characters, got 5" in capsys.readouterr().err


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_hours_are_above_zero(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    options: Any = ["mcp", "--act", f"--max-gpu-hours={hours}"]
    with pytest.raises(SystemExit):
        main(options)
    assert "expected hours above 0" in capsys.readouterr().err
