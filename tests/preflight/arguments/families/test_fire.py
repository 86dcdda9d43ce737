"""python-fire: functions and classes; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

FUNCTION = """
import json
import fire


def train(data, lr=1e-3, layers=(64, 64), amp=False, optimizer="adam", output_dir="out", seed=2):
    print(json.dumps([data, lr, layers, amp, optimizer, seed]))


if __name__ == "__main__":
    fire.Fire(train)
"""

CLASS = """
import fire
class Trainer:
    def __init__(self, lr=0.1, width: int = 8): self.lr = lr
    def evaluate(self, path): pass
    def train(self, epochs=3): print(self.lr, epochs)
fire.Fire(Trainer)
"""


def test_a_function(init: Init) -> None:
    written = init(FUNCTION, "data=d")
    assert written.command == ["${args}", "--output_dir=${trial:dir}/out", "--seed=${trial:seed}"]
    expected = """\
  data: {value: d}
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  layers: {value: [64, 64]}
  amp: {value: false}  # to vary it: {values: [false, true]}
  optimizer: {value: adam}"""
    assert written.parameters == expected
    assert written.run("fire") == written.run_by_hand("d")


def test_a_method_of_a_class(init: Init) -> None:
    written = init(CLASS)
    assert written.command == ["train", "${args}"]
    expected = """\
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  width: {value: 8}
  epochs: {value: 3}"""
    assert written.parameters == expected
    assert written.run("fire") == written.run_by_hand("train")


def test_a_table_of_functions_and_a_module(init: Init) -> None:
    functions = "import fire\ndef train(lr=0.1): print(lr)\ndef evaluate(path): pass\n"
    for call in ("fire.Fire({'train': train, 'evaluate': evaluate})", "fire.Fire()"):
        written = init(f"{functions}{call}\n")
        assert written.command == ["train", "${args}"]
        assert written.run("fire") == "0.1"


def test_private_methods_are_no_subcommands(init: Init) -> None:
    written = init(
        """
import fire
class Job:
    def _prepare(self, path): pass
    def go(self, lr=0.1): print(lr)
fire.Fire(Job)
"""
    )
    assert written.command == ["go", "${args}"]
    assert not any("subcommand" in text for text in written.to_do)
    assert written.run("fire") == "0.1"


def test_text_that_fire_would_read_as_another_value_is_left_out(init: Init) -> None:
    written = init(
        "import fire\ndef go(a='1', b='x,y', c='[z]', d='a-b', e='/p/q', f='True', g=''):\n"
        "    print([a, b, c, d, e, f, g])\nfire.Fire(go)\n"
    )
    assert list(written.spec.parameters) == ["d", "e", "g"]
    assert written.run("fire") == written.run_by_hand()
