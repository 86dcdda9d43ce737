"""The table of the documentation: a script in the style of each row gets the command that the row shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeper.config import value_from_text
from sweeper.preflight.draft import draft

PAGE = Path(__file__).parents[3] / "docs/reference/init-and-plan.md"
PARSER = "import argparse, json, yaml\np = argparse.ArgumentParser()\n"
CLICK = "import click\n@click.command()\n@click.option('--lr', default=0.1)\n@click.option('--amp', is_flag=True)\n"
FIELDS = "from dataclasses import dataclass\n@dataclass\nclass Config:\n    lr: float = 0.1\n    amp: bool = False\n"
SCRIPTS: Mapping[str, str] = {
    "argparse": f"{PARSER}p.add_argument('--lr', default=0.1)\n",
    "argparse, subparsers": (
        f"{PARSER}train = p.add_subparsers().add_parser('train')\ntrain.add_argument('--lr', default=0.1)\n"
    ),
    "click": f"{CLICK}def main(lr, amp): pass\n",
    "typer": "import typer\ndef main(lr: float = 0.1): pass\ntyper.run(main)\n",
    "tyro": f"import tyro\n{FIELDS}tyro.cli(Config)\n",
    "simple-parsing": f"import simple_parsing\n{FIELDS}simple_parsing.parse(Config)\n",
    "HfArgumentParser": (
        "from transformers import HfArgumentParser, TrainingArguments\nHfArgumentParser(TrainingArguments)\n"
    ),
    "jsonargparse": f"from jsonargparse import CLI\n{FIELDS}CLI(Config)\n",
    "LightningCLI": (
        "from lightning.pytorch.cli import LightningCLI\n"
        "class Net:\n    def __init__(self, lr: float = 0.1): pass\nLightningCLI(Net)\n"
    ),
    "Hydra": "import hydra\n@hydra.main(config_path='conf', config_name='config')\ndef main(config): pass\n",
    "OmegaConf": (
        "from omegaconf import OmegaConf\nOmegaConf.merge(OmegaConf.create({'lr': 0.1}), OmegaConf.from_cli())\n"
    ),
    "absl": "from absl import flags\nflags.DEFINE_float('lr', 0.1, 'rate')\n",
    "python-fire": "import fire\ndef main(lr=0.1): pass\nfire.Fire(main)\n",
    "globals": "lr = 0.1\nexec(open('configurator.py').read())\n",
    "a file of settings": f"{PARSER}p.add_argument('--config')\nyaml.safe_load(open(p.parse_args().config))\n",
    "W&B": "import wandb\nwandb.init(config={'lr': 0.1})\n",
    "sweeper": "import sweeper\nwith sweeper.trial(defaults={'lr': 0.1}) as trial: pass\n",
}


def rows() -> dict[str, str]:
    """Return the last cell of each row of the table by the first."""
    table = PAGE.read_text("utf-8").split("<!-- families: begin -->")[1].split("<!-- families: end -->")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return {first: last.strip("`") for first, _, last in cells}


def test_every_row_has_a_script() -> None:
    assert rows().keys() == SCRIPTS.keys()


@pytest.mark.parametrize("family", SCRIPTS)
def test_the_command_of_a_row_is_that_of_a_script(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("conf/config.yaml", "config.yaml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("lr: 0.1\n")
    Path("train.py").write_text(SCRIPTS[family])
    made = draft("train.py", {"config": "config.yaml"} if family == "a file of settings" else {})
    found = re.search(r"^command: (.*)$", made.text, re.MULTILINE)
    assert found is not None
    command = value_from_text(found[1], "command")
    assert isinstance(command, list)
    assert " ".join(command[2:]) == rows()[family]
    assert re.search(r"^  ([\w.]+\.)?(lr|learning_rate): \{value: ", made.text, re.MULTILINE)
