"""Globals that the command line overrides; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

EXEC = """
import os
import torch
# -----
out_dir = 'out'
eval_interval = 2000
learning_rate = 6e-4 # max learning rate
decay_lr = True
init_from = 'scratch' # 'scratch' or 'resume'
beta1, beta2 = 0.9, 0.95
dtype = 'bfloat16' if torch.cuda.is_available() else 'float16'
seed = 1337
# -----
config_keys = [k for k,v in globals().items() if not k.startswith('_') and isinstance(v, (int, float, bool, str))]
exec(open('configurator.py').read()) # overrides from command line or config file
config = {k: globals()[k] for k in config_keys}
print(config)
wandb = None
if False:
    wandb.log({"iter": 1, "train/loss": 1.0, "val/loss": 2.0, "lr": 0.1})
"""
EXEC_FILES = {
    "configurator.py": """\
import sys
from ast import literal_eval

for word in sys.argv[1:]:
    name, text = word[2:].split("=")
    assert word.startswith("--") and name in globals(), word
    try:
        value = literal_eval(text)
    except (SyntaxError, ValueError):
        value = text
    assert type(value) == type(globals()[name]), word
    globals()[name] = value
"""
}

INLINE = """
import sys
lr = 0.1
epochs = 3
for word in sys.argv[1:]:
    key, value = word.split("=")
    globals()[key] = type(globals()[key])(value)
print(lr, epochs)
"""


def test_globals_before_the_line_that_overrides_them(init: Init) -> None:
    written = init(EXEC, files=EXEC_FILES)
    assert written.command == ["${args}", "--out_dir=${trial:dir}/out", "--seed=${trial:seed}"]
    expected = """\
  eval_interval: {value: 2000}
  # max learning rate
  learning_rate: {value: 6e-4}  # to vary it: {values: [2e-4, 6e-4, 2e-3]}
  decay_lr: {value: true}  # to vary it: {values: [false, true]}
  # 'scratch' or 'resume'
  init_from: {value: scratch}
  beta1: {value: 0.9}  # to vary it: {values: [0.7, 0.9, 0.9667]}
  beta2: {value: 0.95}  # to vary it: {values: [0.85, 0.95, 0.9833]}
  # Not in this file, so the script uses its own value:
  #   dtype its default is computed when the script runs"""
    assert written.parameters == expected
    assert (written.spec.metric.name, written.spec.metric.goal.value) == ("val/loss", "minimize")
    assert "'decay_lr': True" in written.run("torch")


def test_globals_that_the_script_overrides_itself(init: Init) -> None:
    written = init(INLINE)
    assert written.command == ["${args_no_hyphens}"]
    expected = """\
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  epochs: {value: 3}"""
    assert written.parameters == expected
    assert written.run("json") == written.run_by_hand()
