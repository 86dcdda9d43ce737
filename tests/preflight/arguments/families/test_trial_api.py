"""The configuration of a W&B run, which is read without a command line; the defaults of a trial."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

CONFIG = """
import wandb
def main():
    config = {"lr": 1e-3, "epochs": 5, "kind": "mlp"}
    run = wandb.init(project="x", config=config)
    for split in ("train", "val"):
        run.log({f"{split}/loss": 1.0})
main()
"""

AGENT = """
import wandb
def main():
    run = wandb.init()
    config = wandb.config
    print(config.lr, config["width"], config.get("x"))
    wandb.log({"val_acc": 0.5, "epoch": 1})
main()
"""


def test_the_configuration_that_a_run_is_started_with(init: Init) -> None:
    written = init(CONFIG)
    assert written.command == []
    expected = """\
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  epochs: {value: 5}
  kind: {value: mlp}"""
    assert written.parameters == expected
    assert (written.spec.metric.name, written.spec.metric.goal.value) == ("val/loss", "minimize")


def test_what_a_script_for_an_agent_reads(init: Init) -> None:
    written = init(AGENT, "lr=0.1", "width=3")
    assert written.command == []
    expected = """\
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  width: {value: 3}"""
    assert written.parameters == expected
    assert (written.spec.metric.name, written.spec.metric.goal.value) == ("val_acc", "maximize")


def test_the_defaults_of_a_trial_count_before_options(init: Init) -> None:
    written = init("""
import argparse, sweeper
parser = argparse.ArgumentParser()
parser.add_argument("--data", default="d")
with sweeper.trial(defaults={"lr": 0.1, "cores": make(), "layers": [1, 2]}) as trial:
    trial.report("accuracy/test", 1.0, step=0)
""")
    assert written.command == []
    expected = """\
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  layers: {value: [1, 2]}
  # Not in this file, so the script uses its own value:
  #   cores its default is computed when the script runs"""
    assert written.parameters == expected
    assert written.to_do == [
        "the script uses sweeper.trial, which was read, and argparse, which was not: add what is missing"
    ]
