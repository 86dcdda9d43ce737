"""typer: parameters of a function, described in their defaults or types; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

APP = """
import json
from enum import Enum
from pathlib import Path
from typing import Annotated, List, Optional

import typer

app = typer.Typer()


class Schedule(str, Enum):
    COSINE = "cos"
    LINEAR = "lin"


@app.command()
def train(
    data: Path,
    lr: float = 1e-3,
    batch_size: int = typer.Option(32, "--batch-size", "-b", help="examples of a step"),
    schedule: Schedule = Schedule.COSINE,
    shuffle: bool = True,
    amp: Annotated[bool, typer.Option("--amp/--fp32")] = False,
    layers: List[int] = [1, 2],
    decay: Annotated[float, typer.Option(help="weight decay")] = 0.01,
    warmup: Optional[int] = None,
    save_dir: Path = Path("out"),
    seed: int = 5,
):
    print(json.dumps([str(data), lr, batch_size, schedule.value, shuffle, amp, layers, decay, warmup, seed]))


if __name__ == "__main__":
    app()
"""

FUNCTION = """
import typer
def main(data: str, lr: float = 0.1, seed: int = 0): print(data, lr)
typer.run(main)
"""


def test_the_command_of_an_app(init: Init) -> None:
    written = init(APP, "data=d")
    assert written.command == ["d", "${args_no_boolean_flags}", "--save-dir=${trial:dir}/save", "--seed=${trial:seed}"]
    expected = """\
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  # examples of a step
  batch-size: {value: 32}
  schedule: {value: cos}  # to vary it: {values: [cos, lin]}
  # turns shuffle off, which is on by default
  no-shuffle: {value: false}  # to vary it: {values: [false, true]}
  amp: {value: false}  # to vary it: {values: [false, true]}
  # weight decay
  decay: {value: 0.01}  # to vary it: {values: [3e-3, 0.01, 0.03]}
  # Not in this file, so the script uses its own value:
  #   layers takes several values: write them in command
  #   warmup has no default"""
    assert written.parameters == expected
    assert written.run("typer") == written.run_by_hand("d")


def test_a_function_that_is_run(init: Init) -> None:
    written = init(FUNCTION, "data=d")
    assert written.command == ["d", "${args}", "--seed=${trial:seed}"]
    expected = """\
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}"""
    assert written.parameters == expected
    assert written.run("typer") == written.run_by_hand("d")


def test_several_commands_and_a_callback(init: Init) -> None:
    written = init(
        """
import typer
app = typer.Typer()
@app.callback()
def common(verbose: bool = False, seed: int = 3): pass
@app.command()
def evaluate(checkpoint: str): pass
@app.command("train-model")
def train(lr: float = typer.Option(0.1, "--rate", "-r")): print(lr)
@app.command()
def fit(lr: float = typer.Option(0.1, "--rate", "-r"), depth: int = typer.Option(..., "-d")): print(lr)
app()
""",
        "d=2",
    )
    assert written.command == ["--seed=${trial:seed}", "fit", "${args}", "-d", "2"]
    assert written.to_do[0] == (
        "check the subcommand in command: fit was chosen, and the script also has evaluate, train-model"
    )
    assert "  rate: {value: 0.1}" in written.parameters
    assert written.run("typer") == "0.1"


def test_a_single_command_beside_a_callback_is_a_subcommand(init: Init) -> None:
    written = init(
        """
import typer
app = typer.Typer()
@app.callback()
def common(verbose: bool = False): pass
@app.command()
def train(lr: float = 0.1): print(lr)
app()
"""
    )
    assert written.command == ["train", "${args}"]
    assert written.run("typer") == "0.1"
