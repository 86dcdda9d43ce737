"""A script that reads all settings from a file: the values of the file are the parameters."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

OPTION = """
import argparse, json, yaml

def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work-dir", default="work")
    return parser.parse_args()

args = get_args()
with open(args.config) as file:
    config = yaml.safe_load(file)
print(json.dumps(config), args.seed)
print(f"epoch 1 | train loss: {1.0:.4f} | test loss: {0.5:.4f}")
"""
OPTION_FILES = {
    "configs/base.yaml": """\
model: {name: mlp, width: 64, layers: [1, 2]}
optim:
  lr: 0.00001
  nesterov: true
epochs: 3
"""
}

WORD = """
import json, sys
config = json.load(open(sys.argv[1]))
print(config)
"""
WORD_FILES = {
    "config.json": """\
{"lr": 1e-5, "out_dir": "runs", "seed": 3, "blocks": [{"a": 1}], "off": null}
"""
}


def test_a_file_that_an_option_names(init: Init) -> None:
    written = init(OPTION, "config=configs/base.yaml", files=OPTION_FILES)
    assert written.command == ["--config", "${args_json_file}", "--seed=${trial:seed}", "--work-dir=${trial:dir}/work"]
    expected = """\
  model:
    parameters:
      name: {value: mlp}
      width: {value: 64}
      layers: {value: [1, 2]}
  optim:
    parameters:
      lr: {value: 1e-5}  # to vary it: {values: [3e-6, 1e-5, 3e-5]}
      nesterov: {value: true}  # to vary it: {values: [false, true]}
  epochs: {value: 3}"""
    assert written.parameters == expected
    assert written.run("yaml").startswith(
        '{"model": {"name": "mlp", "width": 64, "layers": [1, 2]}, "optim": {"lr": 1e-05,'
    )


def test_a_file_that_is_the_first_word(init: Init) -> None:
    written = init(WORD, "config=config.json", files=WORD_FILES)
    assert written.command == ["${args_json_file}"]
    expected = """\
  lr: {value: 1e-5}  # to vary it: {values: [3e-6, 1e-5, 3e-5]}
  out_dir: {value: runs}
  'off': {value: null}
  # Not in the file that the script reads:
  #   seed is the seed, which no parameter can be: let the script take it as an option
  #   blocks is a list of lists or mappings"""
    assert written.parameters == expected
    assert written.run("json") == "{'lr': 1e-05, 'out_dir': 'runs', 'off': None}"


def test_a_file_with_a_fixed_name_needs_a_change_of_the_script(init: Init) -> None:
    written = init("import yaml\nprint(yaml.safe_load(open('config.yaml')))\n", files={"config.yaml": "lr: 0.1\n"})
    assert written.to_do[0].startswith(
        "the script reads config.yaml whatever its command line says: let it take the path"
    )


def test_options_to_vary_come_before_the_file(init: Init) -> None:
    script = """
import argparse, json
p = argparse.ArgumentParser()
p.add_argument("--config", default="config.json")
p.add_argument("--lr", type=float, default=0.1)
json.load(open(p.parse_args().config))
"""
    written = init(script, files={"config.json": '{"width": 3}'})
    assert written.parameters == (
        "  config: {value: config.json}\n  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}"
    )


def test_what_cannot_be_in_the_file_of_a_trial_is_said(init: Init) -> None:
    script = "import sys, yaml\nyaml.safe_load(open(sys.argv[1]))\n"
    files = {"c.yaml": "seed: 1\nsave_dir: x\namp: no\nstages: [{a: 1}]\nx: !env A\nlr: 0.1\n"}
    written = init(script, "config=c.yaml", files=files)
    assert [text.split(":")[0] for text in written.to_do[:5]] == [
        "could not be read, so it is not in this file",
        "seed cannot be in the file of a trial",
        "save_dir is the same directory for all trials",
        "amp is `no`",
        "stages is a list of lists or mappings, which no parameter can be",
    ]


def test_a_file_of_toml(init: Init) -> None:
    script = "import argparse, tomllib\np = argparse.ArgumentParser()\np.add_argument('--config', default='c.toml')\n"
    script += "tomllib.load(open(p.parse_args().config, 'rb'))\n"
    written = init(script, files={"c.toml": "[optim]\nlr = 0.1\n"})
    assert (
        written.parameters.split()
        == "optim: parameters: lr: {value: 0.1} # to vary it: {values: [0.03, 0.1, 0.3]}".split()
    )
    assert written.to_do[0] == "${args_json_file} is JSON, and the script reads TOML: let it read JSON as well"


def test_a_file_that_is_missing_is_said(init: Init) -> None:
    script = "import sys, yaml\nyaml.safe_load(open(sys.argv[1]))\n"
    written = init(script, "config=none.yaml")
    said = "none.yaml could not be read (none.yaml: the file cannot be read: No such file or directory)"
    assert written.to_do[0].startswith(said)
