"""tyro: dataclasses, functions and subcommands; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

NESTED = '''
import dataclasses
import json
from typing import Literal

import tyro


@dataclasses.dataclass
class Optim:
    lr: float = 3e-4
    weight_decay: float = 0.0
    nesterov: bool = False


@dataclasses.dataclass
class Args:
    data: str
    """where the data is"""
    optim: Optim = dataclasses.field(default_factory=lambda: Optim(lr=1e-3))
    batch_size: int = 32
    """examples of a step"""
    layers: tuple[int, ...] = (64, 64)
    activation: Literal["relu", "gelu"] = "relu"
    cuda: bool = True
    out_dir: str = "out"
    seed: int = 1


if __name__ == "__main__":
    args = tyro.cli(Args)
    print(json.dumps(dataclasses.asdict(args)))
'''

FUNCTION = """
import tyro
def main(data: str, /, lr: float = 1, tags: list[str] = ["a"]) -> None: print(data, float(lr), tags)
tyro.cli(main)
"""

UNION = """
from dataclasses import dataclass
from typing import Union
import tyro
@dataclass
class Train:
    lr: float = 0.1
@dataclass
class EvalModel:
    checkpoint: str
print(tyro.cli(Union[Train, EvalModel]))
"""


def test_nested_dataclasses(init: Init) -> None:
    written = init(NESTED, "data=d")
    assert written.command == ["${args_no_boolean_flags}", "--out-dir=${trial:dir}/out", "--seed=${trial:seed}"]
    expected = """\
  # where the data is
  data: {value: d}
  optim.lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  optim.weight-decay: {value: 0.0}
  optim.nesterov: {value: false}  # to vary it: {values: [false, true]}
  # examples of a step
  batch-size: {value: 32}
  activation: {value: relu}  # to vary it: {values: [relu, gelu]}
  # turns cuda off, which is on by default
  no-cuda: {value: false}  # to vary it: {values: [false, true]}
  # Not in this file, so the script uses its own value:
  #   layers takes several values: write them in command"""
    assert written.parameters == expected
    assert '"lr": 0.001' in written.run("tyro")


def test_a_function_with_a_positional_parameter(init: Init) -> None:
    written = init(FUNCTION, "data=d")
    assert written.command == ["d", "${args}"]
    expected = """\
  lr: {value: 1.0}  # to vary it: {values: [0.3, 1.0, 3.0]}
  # Not in this file, so the script uses its own value:
  #   tags takes several values: write them in command"""
    assert written.parameters == expected
    assert written.run("tyro") == written.run_by_hand("d")


def test_a_union_of_classes_is_a_choice_of_subcommands(init: Init) -> None:
    written = init(UNION)
    assert written.command == ["train", "${args}"]
    expected = """\
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}"""
    assert written.parameters == expected
    assert written.run("tyro") == written.run_by_hand("train")


def test_a_default_instance_and_a_field_that_is_a_choice_of_classes(init: Init) -> None:
    written = init("""
from dataclasses import dataclass, field
from enum import Enum
from typing import Union
import tyro
class Kind(Enum):
    MLP = 1
    CNN = 2
@dataclass
class Adam:
    beta: float = 0.9
@dataclass
class SGD:
    momentum: float = 0.9
@dataclass
class Config:
    optim: Union[Adam, SGD] = field(default_factory=Adam)
    lr: float = 0.1
    kind: Kind = Kind.CNN
    steps: int = field(default=3, init=False)
print(tyro.cli(Config, default=Config(lr=0.5)).lr)
""")
    assert "  lr: {value: 0.5}" in written.parameters
    assert "  kind: {value: CNN}  # to vary it: {values: [MLP, CNN]}" in written.parameters
    assert "steps" not in written.parameters
    assert "train.py:17: optim: Union[Adam, SGD] = field(default_factory=Adam)" in written.err
