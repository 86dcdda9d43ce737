"""What `sweeper exec` says about the rules that may stop its run, and what it takes by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.cli.execute.exec import _default_metric, _is_python, _rules_text, _uses_sweeper
from sweeper.config import sweep_of_command
from sweeper.rules.diagnoses import STOPPING

OFF = "; --early-stop none switches them off"
MAY = "rules that may stop the run: "
PRESET = f"early_stop: auto ({', '.join(STOPPING)})"


def text(rules: str | None, folder: Path) -> str:
    path = None
    if rules is not None:
        path = str(folder / "rules.yaml")
        Path(path).write_text(rules)
    return _rules_text(sweep_of_command(["true"], name="a", metric="loss", goal="minimize", early_stop=path).early_stop)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (None, f"{MAY}{PRESET}{OFF}"),
        ("early_stop: auto", f"{MAY}{PRESET}{OFF}"),
        ("early_stop: {mode: observe}", f"rules in observe mode: {PRESET}{OFF}"),
        (
            "rules: [auto, {vanishing_gradient: {below: 0.01}}, {median: {}}]",
            f"{MAY}{PRESET} with vanishing_gradient (below 0.01) or median{OFF}",
        ),
        (
            "rules: [{stalled: {grace_steps: 20}}, {plateau: {}}]",
            f"{MAY}stalled (grace_steps 20) or plateau{OFF}",
        ),
        ("rules: []", "no rule may stop it"),
    ],
)
def test_the_rules_are_named(rules: str | None, said: str, tmp_path: Path) -> None:
    assert text(rules, tmp_path) == said


def test_the_help_names_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["exec", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "rules that may stop the run: auto, none, or a file with rules (default: auto)" in out


@pytest.mark.parametrize(
    ("line", "uses"),
    [
        ("import sweeper", True),
        ("from sweeper import trial", True),
        ("    import sys, torch as t, sweeper", True),
        ("import sys, torch  # without sweeper", False),
        ("import mysweeper", False),
        ("import sweepers", False),
    ],
)
def test_a_script_that_imports_sweeper_is_recognised(line: str, uses: bool, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import os\n{line}\n")
    assert _uses_sweeper(str(script)) is uses
    assert _default_metric(str(script), watch=True) == ("loss/train" if uses else "loss/backward")
    assert _default_metric(str(script), watch=False) == "loss/train"


@pytest.mark.parametrize(
    ("command", "is_python"),
    [
        ("python train.py", True),
        ("/opt/venv/bin/python3.12 -m package", True),
        ("torchrun --nproc-per-node 2 train.py", True),
        ("./train.py", True),
        ("bash train.sh", False),
        ("pythonic", False),
    ],
)
def test_a_command_that_runs_python_is_watched_by_default(command: str, is_python: bool) -> None:
    assert _is_python(command.split()) is is_python
