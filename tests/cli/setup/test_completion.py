"""Tab in real shells: commands, options, runs, trials and sweep files."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.cli.setup.completers import runs, sweep_files

ROOT = Path(__file__).parents[3]
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(sweeper completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -u; eval "$(sweeper completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "sweeper completion fish | source"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, two sweep files, one of them in a folder, and files that are none."""
    monkeypatch.chdir(tmp_path)
    for run in ("runs/warmup", "runs/wide", "old/first"):
        (tmp_path / run / "trials/0007").mkdir(parents=True)
        (tmp_path / run / "spec.json").write_text("{}")
    (tmp_path / "runs/other").mkdir()
    (tmp_path / "sweeps").mkdir()
    for name in ("warm up.yaml", "sweeps/cold.yml"):
        (tmp_path / name).write_text("name: a\nmethod: grid\n")
    (tmp_path / "values.yaml").write_text("a: 1\nmethods: 2\n")
    (tmp_path / "notes.txt").write_text("method: none\n")
    return tmp_path


def test_runs_and_the_way_to_others(folder: Path) -> None:
    assert runs("") == ["old/", "runs/", "sweeps/", "runs/other/", "runs/warmup", "runs/wide"]
    assert runs("runs/wa") == ["runs/warmup"]
    assert runs("old/") == ["old/first"]
    assert runs(f"{folder}/old/") == [f"{folder}/old/first"]
    assert runs("nowhere/x") == []


def test_sweep_files_and_the_way_to_others(folder: Path) -> None:
    assert sweep_files("") == ["warm up.yaml", "old/", "runs/", "sweeps/"]
    assert sweep_files("sweeps/") == ["sweeps/cold.yml"]
    assert sweep_files("v") == []


def test_the_code_of_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "csh"])
    assert "choose from" in capsys.readouterr().err


class Terminal:
    """An interactive shell on a terminal of its own, with `sweeper` on its path."""

    def __init__(self, shell: str, folder: Path) -> None:
        command, code = SHELLS[shell]
        program = folder / "bin" / "sweeper"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sweeper.cli "$@"\n')
        program.chmod(0o755)
        self._screen, theirs = pty.openpty()
        environment = {
            **os.environ,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",
            "PS1": "",
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / ".config"),
        }
        self._shell = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - fish wants a terminal of its own
        )
        os.close(theirs)
        self.seen = ""
        self.type(f"{code}; echo re''ady\r")
        self.wait_for("ready")

    def type(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def wait_for(self, text: str) -> None:
        """Read what the terminal shows until the text is there."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self._screen], [], [], 0.1)[0]:
                shown = os.read(self._screen, 1 << 16).decode(errors="replace")
                self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07|\r|\x08", "", shown)

    def completes(self, typed: str, expected: str) -> None:
        """Type it, then Tab, until what is expected stands there; then the line is thrown away."""
        self.seen = ""
        self.type(f"{typed}\t")
        self.wait_for(expected)
        self.type("\x15\r")

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._screen)


@pytest.mark.parametrize("shell", SHELLS)
def test_tab(shell: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    terminal = Terminal(shell, folder)
    try:
        terminal.completes("sweeper sta", "sweeper status ")
        terminal.completes("sweeper status runs/wa", "sweeper status runs/warmup ")
        terminal.completes("sweeper why runs/warmup ", "sweeper why runs/warmup 7")
        terminal.completes("sweeper run sweeps/", "sweeper run sweeps/cold.yml ")
        terminal.completes("sweeper check wa", "sweeper check warm\\ up.yaml ")
        terminal.completes("sweeper plan sweeps/cold.yml --aga", "--against ")
        terminal.completes("sweeper plan sweeps/cold.yml --against old/", "--against old/first ")
    finally:
        terminal.close()
