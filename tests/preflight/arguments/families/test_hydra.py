"""Hydra: composed files, groups, overrides and structured configurations; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

GROUPS = """
import hydra
import json
from omegaconf import DictConfig, OmegaConf


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig):
    print(json.dumps(OmegaConf.to_container(cfg, resolve=True), sort_keys=True))


if __name__ == "__main__":
    main()
"""
GROUPS_FILES = {
    "conf/config.yaml": """\
defaults:
  - model: mlp
  - optim: adam
  - _self_
seed: 3
epochs: 10
layers: [64, 64]
data: ???
name: ${model.kind}-${seed}
resume: null
optim:
  lr: 1e-3
hydra:
  job:
    chdir: false
""",
    "conf/model/cnn.yaml": """\
kind: cnn
channels: 8
""",
    "conf/model/mlp.yaml": """\
_target_: models.MLP
kind: mlp
width: 64
""",
    "conf/optim/adam.yaml": """\
lr: 0.1
betas: [0.9, 0.99]
nesterov: false
""",
}

OVERRIDES = """
import hydra
@hydra.main(config_path="conf", config_name="train.yaml", version_base="1.3")
def main(cfg):
    from omegaconf import OmegaConf
    print(OmegaConf.to_container(cfg))
main()
"""
OVERRIDES_FILES = {
    "conf/base.yaml": """\
weight_decay: 0.01
""",
    "conf/data/base.yaml": """\
workers: 2
lr: 5
""",
    "conf/data/cifar.yaml": """\
defaults: [base]
name: cifar
""",
    "conf/data/mnist.yaml": """\
name: mnist
""",
    "conf/experiment/small.yaml": """\
# @package _global_
defaults:
  - override /data: mnist
lr: 0.5
extra: {a: 1}
""",
    "conf/train.yaml": """\
defaults:
  - base
  - data: cifar
  - experiment: small
  - optional local: default
  - override hydra/job_logging: disabled
lr: 0.1
""",
}

STORE = """
from dataclasses import dataclass, field
import hydra
from hydra.core.config_store import ConfigStore
@dataclass
class Optim:
    lr: float = 0.1
    name: str = "sgd"
@dataclass
class Config:
    optim: Optim = field(default_factory=Optim)
    epochs: int = 3
store = ConfigStore.instance()
store.store(name="config", node=Config)
@hydra.main(version_base=None, config_name="config")
def main(cfg): print(cfg)
main()
"""


def test_groups_are_composed(init: Init) -> None:
    written = init(GROUPS, "data=d", files=GROUPS_FILES)
    assert written.command == ["${args_no_hyphens}", "seed=${trial:seed}", "hydra.run.dir=${trial:dir}/hydra"]
    expected = """\
  # configuration group: the values model.* below are those of mlp
  model: {value: mlp}  # to vary it: {values: [cnn, mlp]}
  model.kind: {value: mlp}
  model.width: {value: 64}
  optim.lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  optim.betas: {value: [0.9, 0.99]}
  optim.nesterov: {value: false}  # to vary it: {values: [false, true]}
  epochs: {value: 10}
  layers: {value: [64, 64]}
  data: {value: d}
  # Not in this file, so the script uses its own value:
  #   model._target_ says what is built, and not how
  #   name is computed from other values
  #   resume is null"""
    assert written.parameters == expected
    assert written.run("hydra") == written.run_by_hand("data=d")


def test_packages_and_overrides_of_groups(init: Init) -> None:
    written = init(OVERRIDES, files=OVERRIDES_FILES)
    assert written.command == ["${args_no_hyphens}", "hydra.run.dir=${trial:dir}/hydra"]
    expected = """\
  # configuration group: the values data.* below are those of mnist
  data: {value: mnist}  # to vary it: {values: [base, cifar, mnist]}
  weight_decay: {value: 0.01}  # to vary it: {values: [3e-3, 0.01, 0.03]}
  data.name: {value: mnist}
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  extra.a: {value: 1}"""
    assert written.parameters == expected
    assert written.run("hydra") == written.run_by_hand()


def test_a_structured_configuration(init: Init) -> None:
    written = init(STORE)
    assert written.command == ["${args_no_hyphens}", "hydra.run.dir=${trial:dir}/hydra"]
    expected = """\
  optim.lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  optim.name: {value: sgd}
  epochs: {value: 3}"""
    assert written.parameters == expected
    assert written.run("hydra") == written.run_by_hand()


TEMPLATE = {
    "conf/train.yaml": """\
defaults:
  - _self_
  - data: [a, b]
  - paths: default
  - hydra: default
  - debug: null
  - optional local: default
  - model/optimizer@optimizer: adam
wandb: off
lr: ${paths.lr}
""",
    "conf/data/a.yaml": "x: 1\n",
    "conf/data/b.yaml": "y: 2\n",
    "conf/paths/default.yaml": "output_dir: ${hydra:runtime.output_dir}\nlog_dir: null\nlr: 0.1\n",
    "conf/hydra/default.yaml": "job: {chdir: false}\n",
    "conf/model/optimizer/adam.yaml": "beta: 0.9\n",
}


def test_lists_of_options_interpolations_and_renamed_packages(init: Init) -> None:
    script = "import hydra\n@hydra.main('conf', 'train')\ndef main(cfg): pass\n"
    written = init(script, files=TEMPLATE)
    assert written.command == [
        "${args_no_hyphens}",
        "paths.log_dir=${trial:dir}/logs",
        "hydra.run.dir=${trial:dir}/hydra",
    ]
    expected = """\
  data.x: {value: 1}
  data.y: {value: 2}
  paths.lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  optimizer.beta: {value: 0.9}  # to vary it: {values: [0.7, 0.9, 0.9667]}
  # Not in this file, so the script uses its own value:
  #   wandb is `off`, which scripts read as text or as true or false: write it in command
  #   lr is computed from other values
  #   paths.output_dir is computed from other values"""
    assert written.parameters == expected


def test_a_configuration_that_is_missing_is_said(init: Init) -> None:
    written = init("import hydra\n@hydra.main(config_path='conf', config_name='train')\ndef main(cfg): pass\n")
    assert written.to_do[0] == "no configuration train was found in conf: write its values as parameters"
    computed = init("import hydra\n@hydra.main(config_path='conf', config_name=name())\ndef main(cfg): pass\n")
    assert computed.to_do[0] == "the name of the configuration is not in @hydra.main: write its values as parameters"


def test_text_that_an_override_would_change_is_left_out(init: Init) -> None:
    config = "a: 'x, y'\nb: '1'\nc: 'null'\nd: a b/c-d_e.f:g@i\ne: ''\nf: ['1', 'x, y']\ng: '{x}'\nh: a=b\n"
    script = (
        "import hydra\n@hydra.main(version_base=None, config_path='.', config_name='c')\n"
        "def main(cfg):\n    print(dict(cfg))\nmain()\n"
    )
    written = init(script, files={"c.yaml": config})
    assert list(written.spec.parameters) == ["d", "e", "f"]
    assert "  #   b is text that has to be quoted as an override: write it in command" in written.parameters
    assert written.run("hydra") == written.run_by_hand()
