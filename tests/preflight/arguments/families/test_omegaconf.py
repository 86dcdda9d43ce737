"""OmegaConf: a file and the command line; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

SCRIPT = """
import json
from omegaconf import OmegaConf

cfg = OmegaConf.merge(OmegaConf.load("config.yaml"), OmegaConf.from_cli())
print(json.dumps(OmegaConf.to_container(cfg)))
"""
SCRIPT_FILES = {
    "config.yaml": """\
lr: 1e-3
model: {width: 8}
seed: 1
output_dir: runs
"""
}


def test_a_file_with_overrides(init: Init) -> None:
    written = init(SCRIPT, files=SCRIPT_FILES)
    assert written.command == ["${args_no_hyphens}", "seed=${trial:seed}", "output_dir=${trial:dir}/out"]
    expected = """\
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  model.width: {value: 8}"""
    assert written.parameters == expected
    assert '"lr": 0.001, "model": {"width": 8}' in written.run("omegaconf")
