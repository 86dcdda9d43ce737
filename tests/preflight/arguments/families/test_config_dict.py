"""ml_collections: the values that get_config assigns."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

CONFIG = """
from absl import app, flags
from ml_collections import config_flags
flags.DEFINE_string("workdir", None, "dir")
config_flags.DEFINE_config_file("config", "configs/base.py")
"""
CONFIG_FILES = {
    "configs/base.py": """\
import ml_collections
def get_config():
    config = ml_collections.ConfigDict()
    config.lr = 0.1
    config.optim = optim = ml_collections.ConfigDict()
    optim.name = "adam"
    config.model = ml_collections.ConfigDict({"width": 8, "drop": 0.5})
    config.seed = 3
    return config
"""
}


def test_a_configuration_of_ml_collections(init: Init) -> None:
    written = init(CONFIG, files=CONFIG_FILES)
    assert written.command == [
        "--config=configs/base.py",
        "${args}",
        "--workdir=${trial:dir}/work",
        "--config.seed=${trial:seed}",
    ]
    expected = """\
  config.lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  config.optim.name: {value: adam}
  config.model.width: {value: 8}
  config.model.drop: {value: 0.5}  # to vary it: {values: [0.2, 0.5, 0.75]}"""
    assert written.parameters == expected
