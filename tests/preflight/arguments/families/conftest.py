"""Write the sweep file of a small script, and run its command once to show that the script accepts it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.config import SweepSpec, load
from sweeper.orchestrator.trial_command import command_of
from sweeper.record.values.params import file_of
from sweeper.search.grid import Grid

TRIAL_DIR = "${trial:dir}"
FILE = "${args_json_file}"


@dataclass(frozen=True)
class Written:
    """What `sweeper init` wrote."""

    text: str
    err: str
    spec: SweepSpec
    folder: Path

    @property
    def command(self) -> list[str]:
        """The command, without the interpreter and the script."""
        command = list(self.spec.command or ())
        assert command[:2] == ["${interpreter}", "${program}"]
        return command[2:]

    @property
    def parameters(self) -> str:
        """The lines below `parameters:`."""
        return self.text.split("\nparameters:\n")[1].split("\n\n")[0]

    @property
    def to_do(self) -> list[str]:
        return [line.removeprefix("# TO DO: ") for line in self.text.splitlines() if line.startswith("# TO DO: ")]

    def run(self, library: str) -> str:
        """Run the command of the first trial; return what it prints."""
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed, so the command was not run")
        params = next(iter(Grid(self.spec.parameters).points()))
        words = command_of(self.spec, params, self.spec.seeds[0])
        file = self.folder / "arguments.json"
        file.write_text(file_of(params, self.spec.nesting))
        command = [str(file) if word == FILE else word.replace(TRIAL_DIR, str(self.folder / "trial")) for word in words]
        return output(command, self.folder)

    def run_by_hand(self, *words: str) -> str:
        return output([sys.executable, "train.py", *words], self.folder)


def output(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


Init = Callable[..., Written]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Init:
    monkeypatch.chdir(tmp_path)

    def init(script: str, *given: str, files: Mapping[str, str] | None = None) -> Written:
        for name, text in {"train.py": script, **(files or {})}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "train.yaml").unlink(missing_ok=True)
        assert main(["init", "train.py", *given]) == 0, capsys.readouterr().err
        err = capsys.readouterr().err
        spec = load("train.yaml", has_cuda=False, trainers={})
        return Written((tmp_path / "train.yaml").read_text(), err, spec, tmp_path)

    return init
