"""jsonargparse: functions and classes; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

FUNCTION = """
import json
from jsonargparse import CLI


def train(data: str, lr: float = 1e-3, amp: bool = False, layers: list[int] = [64, 64], seed: int = 3):
    print(json.dumps([data, lr, amp, layers, seed]))


if __name__ == "__main__":
    CLI(train)
"""

CLASS = """
from jsonargparse import ArgumentParser, ActionConfigFile
class Net:
    def __init__(self, width: int = 8, drop: float = 0.1): pass
parser = ArgumentParser()
parser.add_argument("--config", action=ActionConfigFile)
parser.add_argument("--amp", type=bool, default=False)
parser.add_class_arguments(Net, "model")
print(parser.parse_args())
"""


def test_a_function(init: Init) -> None:
    written = init(FUNCTION, "data=d")
    assert written.command == ["d", "${args}", "--seed=${trial:seed}"]
    expected = """\
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  amp: {value: false}  # to vary it: {values: [false, true]}
  layers: {value: [64, 64]}"""
    assert written.parameters == expected
    assert written.run("jsonargparse") == written.run_by_hand("d")


def test_a_class_and_options(init: Init) -> None:
    written = init(CLASS)
    assert written.command == ["${args}"]
    expected = """\
  model.width: {value: 8}
  model.drop: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  amp: {value: false}  # to vary it: {values: [false, true]}
  # Not in this file, so the script uses its own value:
  #   config has a custom action, ActionConfigFile"""
    assert written.parameters == expected
    assert written.run("jsonargparse") == written.run_by_hand()
