"""A command that there is none of."""

from __future__ import annotations

import pytest

from sweeper.cli import main


@pytest.mark.parametrize(
    ("word", "hint"), [("stauts", "did you mean status?"), ("xyzzy", "`sweeper --help` lists them")]
)
def test_the_nearest_command_is_named(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([word, "runs/warmup"])
    assert capsys.readouterr().err.endswith(f"there is no command '{word}'; {hint}\n")
