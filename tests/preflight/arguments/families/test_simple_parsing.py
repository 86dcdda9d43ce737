"""simple-parsing: dataclasses beside calls of add_argument; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

SCRIPT = """
import dataclasses
import json
from dataclasses import dataclass, field

import simple_parsing
from simple_parsing import ArgumentParser


@dataclass
class Optim:
    lr: float = 1e-3  # learning rate
    beta: float = 0.9


@dataclass
class Config:
    optim: Optim = field(default_factory=Optim)
    batch_size: int = 32
    amp: bool = False
    shuffle: bool = True
    layers: list[int] = field(default_factory=lambda: [1, 2])


parser = ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output_dir", default="out")
parser.add_arguments(Config, dest="config")
args = parser.parse_args()
print(json.dumps([dataclasses.asdict(args.config), args.seed]))
"""


def test_a_dataclass_and_options(init: Init) -> None:
    written = init(SCRIPT)
    assert written.command == ["${args}", "--seed=${trial:seed}", "--output_dir=${trial:dir}/out"]
    expected = """\
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  beta: {value: 0.9}  # to vary it: {values: [0.7, 0.9, 0.9667]}
  batch_size: {value: 32}
  amp: {value: false}  # to vary it: {values: [false, true]}
  shuffle: {value: true}  # to vary it: {values: [false, true]}
  # Not in this file, so the script uses its own value:
  #   layers takes several values: write them in command"""
    assert written.parameters == expected
    assert written.run("simple_parsing") == written.run_by_hand()
