"""absl flags and configurations of ml_collections; the command is accepted."""

from __future__ import annotations

import pytest

from sweeper.errors import UsageError
from sweeper.preflight.draft import draft
from tests.preflight.arguments.families.conftest import Init

FLAGS = """
import json
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_float("lr", 1e-3, "learning rate", lower_bound=0)
flags.DEFINE_integer("batch_size", 32, "examples of a step")
flags.DEFINE_bool("amp", False, "mixed precision")
flags.DEFINE_boolean("shuffle", True, "shuffle")
flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "optimizer")
flags.DEFINE_list("layers", ["64", "64"], "widths")
flags.DEFINE_multi_integer("milestones", [1, 2], "epochs")
DATA = flags.DEFINE_string("data", None, "where the data is", required=True)
flags.DEFINE_string("workdir", None, "where to write")
flags.DEFINE_integer("seed", 4, "seed")
flags.mark_flag_as_required("workdir")


def main(argv):
    print(json.dumps([FLAGS.lr, FLAGS.batch_size, FLAGS.amp, FLAGS.shuffle, FLAGS.layers, DATA.value, FLAGS.seed]))


if __name__ == "__main__":
    app.run(main)
"""


def test_flags(init: Init) -> None:
    written = init(FLAGS, "data=d")
    assert written.command == ["${args}", "--workdir=${trial:dir}/work", "--seed=${trial:seed}"]
    expected = """\
  # learning rate
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  # examples of a step
  batch_size: {value: 32}
  # mixed precision
  amp: {value: false}  # to vary it: {values: [false, true]}
  # shuffle
  shuffle: {value: true}  # to vary it: {values: [false, true]}
  # optimizer
  optimizer: {value: adam}  # to vary it: {values: [adam, sgd]}
  # widths
  layers: {value: '64,64'}
  # where the data is
  data: {value: d}
  # Not in this file, so the script uses its own value:
  #   milestones takes several values: write them in command"""
    assert written.parameters == expected
    assert written.run("absl") == written.run_by_hand("--data=d", "--workdir=w")


def test_flags_that_are_marked_as_required_need_a_value(init: Init) -> None:
    script = """
from absl import flags
flags.DEFINE_string("data", None, "where the data is")
flags.DEFINE_integer("width", None, "width")
flags.mark_flags_as_required(["data", "width"])
"""
    written = init(script, "data=d", "width=[1, 2]")
    assert written.parameters == "  # where the data is\n  data: {value: d}\n  # width\n  width: {values: [1, 2]}"
    with pytest.raises(UsageError, match=r"train\.py: these arguments have no default: width\. Give their values"):
        draft("train.py", {"data": "d"})
