"""The command line of a trial: macros that are replaced when it is made, and macros that are replaced where it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config import SweepSpec
from sweeper.config.model.macros import CARRIERS, WORDS, macro
from sweeper.errors import UsageError
from sweeper.orchestrator.trial_command import command_of
from sweeper.record.reader import read_exit
from sweeper.record.storage.layout import TrialDir
from sweeper.record.values.params import file_of, json_of
from sweeper.worker.process.command import FILE, filled

PARAMS = {"lr": 1e-5, "amp": True, "bias": False, "opt": "adam", "betas": (0.9, 0.99), "net.width": 3, "none": None}
FLAGS = [
    "--lr=1e-05",
    "--amp=True",
    "--bias=False",
    "--opt=adam",
    "--betas=[0.9, 0.99]",
    "--net.width=3",
    "--none=None",
]


def command(*words: str, **keys: Any) -> list[str]:
    given = {"name": "s", "method": "grid", "metric": {"name": "m"}, "command": words or None}
    return command_of(SweepSpec.from_json({**given, **keys}), PARAMS, seed=7)


def test_values_are_written_as_by_the_agent_of_wandb() -> None:
    assert command("train", "${args}") == ["train", *FLAGS]
    assert command("train") == ["train", *FLAGS]
    assert command(program="train.py") == [sys.executable, "train.py", *FLAGS]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("env", ["/usr/bin/env"]),
        ("interpreter", [sys.executable]),
        ("program", ["train.py"]),
        ("args", FLAGS),
        ("args_no_hyphens", [flag[2:] for flag in FLAGS]),
        ("args_no_equals", [part for flag in FLAGS for part in flag.split("=", 1)]),
        ("args_no_boolean_flags", ["--lr=1e-05", "--amp", *FLAGS[3:]]),
        (
            "args_json",
            [
                (
                    '{"lr": 1e-05, "amp": true, "bias": false, "opt": "adam", "betas": [0.9, 0.99], '
                    '"net": {"width": 3}, "none": null}'
                )
            ],
        ),
        ("args_json_file", [FILE]),
        ("args_append_hydra", [f"+{flag[2:]}" for flag in FLAGS]),
        ("args_override_hydra", [f"++{flag[2:]}" for flag in FLAGS]),
        ("args_spread", [*FLAGS[:4], "--betas", "0.9", "0.99", "--net.width=3"]),
        ("args_spread_no_boolean_flags", [FLAGS[0], "--amp", FLAGS[3], "--betas", "0.9", "0.99", "--net.width=3"]),
    ],
)
def test_each_macro(word: str, expected: list[str]) -> None:
    assert command("x", macro(word), program="train.py") == ["x", *expected]


def test_each_macro_is_what_the_agent_of_wandb_makes_of_it() -> None:
    agent = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    params = {**PARAMS, "betas": [0.9, 0.99], "loss": {"name": "l1", "w": [1, None]}, "model": {"width": 2}, "t": "a b"}
    given = {"name": "s", "method": "grid", "metric": {"name": "m"}}
    theirs = agent.create_sweep_command_args({"args": {name: {"value": value} for name, value in params.items()}})
    del theirs["args_dict"]  # a mapping, from which no words can be made
    assert set(theirs) == {*CARRIERS} - {"args_spread", "args_spread_no_boolean_flags", "args_json_file"}
    for name, words in theirs.items():
        spec = SweepSpec.from_json({**given, "nesting": {}, "command": [macro(name)]})
        assert command_of(spec, params, seed=0) == words, name


def test_every_macro_of_a_sweep_file_is_replaced() -> None:
    left = [word for word in WORDS if macro(word) in command("x", macro(word), program="train.py")]
    assert left == ["args_json_file", "resume_args"]


def test_the_seed_may_be_part_of_a_word_of_the_command() -> None:
    words = ["x", "--seed=${trial:seed}", "${args_json}"]
    spec = SweepSpec.from_json({"name": "s", "method": "grid", "metric": {"name": "m"}, "command": words})
    assert command_of(spec, {"a": 1}, seed=7) == ["x", "--seed=7", '{"a": 1}']


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--cfg=c/${params:opt}.yaml"], ["--cfg=c/adam.yaml"]),
        (["${params:opt}", "${params:net.width}-${params:opt}"], ["adam", "3-adam"]),
        (["-c", "run --lr ${params:lr} ${params:amp}"], ["-c", "run --lr 1e-05 True"]),
        (["--betas", "${params:betas}", "end"], ["--betas", "0.9", "0.99", "end"]),
        (["--betas=${params:betas}"], ["--betas=[0.9, 0.99]"]),
        (["--none=${params:none}", "a"], ["a"]),
        (["--none", "${params:none}", "a"], ["a"]),
        (["--verbose", "${params:none}", "a"], ["--verbose", "a"]),
        (["--not-here", "${params:not_here}", "a${params:not_here}"], []),  # its condition does not hold
        (["${trial:dir}/${params:opt}"], ["${trial:dir}/adam"]),
    ],
)
def test_one_parameter_anywhere_in_a_word(words: list[str], expected: list[str]) -> None:
    assert command("x", *words) == ["x", *expected]


def test_a_parameter_with_its_own_place_is_not_among_the_others() -> None:
    rest = [flag for flag in FLAGS if not flag.startswith(("--lr", "--betas", "--none"))]
    own = ("${params:lr}", "-b", "${params:betas}", "-n${params:none}")
    assert command("x", *own, "${args}") == ["x", "1e-05", "-b", "0.9", "0.99", *rest]
    assert json.loads(command("x", *own, "${args_json}")[-1])["lr"] == 1e-5


def test_an_empty_list_and_a_value_with_a_macro_are_passed_as_they_are() -> None:
    params = {"layers": [], "words": ["-a", "b c"], "text": "${params:words}", "deep": [[1, 2], None]}
    spec = SweepSpec.from_json(
        {"name": "s", "method": "grid", "metric": {"name": "m"}, "command": ["x", "${args_spread}"]}
    )
    expected = ["x", "--layers", "--words", "-a", "b c", "--text=${params:words}", "--deep", "[1, 2]", "None"]
    assert command_of(spec, params, seed=0) == expected
    placed = spec.model_copy(update={"command": ("x", "${params:text}", "${params:layers}")})
    assert command_of(placed, params, seed=0) == ["x", "${params:words}"]


def test_a_macro_of_the_trial_does_not_take_the_place_of_the_parameters() -> None:
    assert command("train", "--out=${trial:dir}") == ["train", "--out=${trial:dir}", *FLAGS]
    assert command("train", "${envvar:DATA}", "${resume_args}") == ["train", "${envvar:DATA}", "${resume_args}", *FLAGS]
    assert command("${env}", "train") == ["/usr/bin/env", "train"]  # as with W&B


def test_a_parameter_named_like_a_group_keeps_its_name_in_json() -> None:
    assert json.loads(json_of({"a": 1, "a.b": 2, "c.d.e": 3})) == {"a": 1, "a.b": 2, "c": {"d": {"e": 3}}}


def test_only_groups_of_the_sweep_file_are_nested_in_json(tmp_path: Path) -> None:
    nesting = {"c.d": ("c", "d"), "a.x": ("a", "x")}
    params = {"a": 1, "a.x": 2, "b.c": 3, "c.d": 4}
    expected = {"a": 1, "a.x": 2, "b.c": 3, "c": {"d": 4}}
    assert json.loads(json_of(params, nesting)) == json.loads(file_of(params, nesting)) == expected
    trial = made(tmp_path)
    facts = json.loads(trial.facts.read_text()) | {"params": {"b.c": "${trial:number}", "c.d": 4}, "nesting": nesting}
    trial.facts.write_text(json.dumps(facts))
    words = filled(["${args_json}", FILE], trial, 1, {})
    assert json.loads(words[0]) == json.loads(Path(words[1]).read_text()) == {"b.c": "0", "c": {"d": 4}}


@pytest.mark.parametrize("value", [1e-5, -1e-05, 1.5e-7, 1e300, 0.1, 3, [1e-6, 2], 'text 1e-5 \\" 2e-3', "1e-5"])
def test_a_number_of_the_file_is_one_for_json_and_for_pyyaml(value: object) -> None:
    text = file_of({"a.b": value, "1e-5": 0})
    assert json.loads(text) == {"a": {"b": value}, "1e-5": 0}
    assert yaml.safe_load(text) == {"a": {"b": value}, "1e-5": 0}


def made(folder: Path) -> TrialDir:
    trial = TrialDir(folder / "0000")
    trial.attempt(1).path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": 0, "params": {"a.b": 1}, "shown": {}, "command": []}
    trial.facts.write_text(json.dumps({**facts, "metric": "m", "maximize": True}))
    return trial


def test_variables_and_the_file_of_parameters_are_those_of_the_executing_machine(tmp_path: Path) -> None:
    trial = made(tmp_path)
    words = filled(["x", "--data=${envvar:DATA}/a", FILE], trial, 1, {"DATA": "/data"})
    assert words == ["x", "--data=/data/a", str(trial.attempt(1).arguments)]
    assert json.loads(trial.attempt(1).arguments.read_text()) == {"a": {"b": 1}}
    with pytest.raises(UsageError, match="the environment variable DATA is not set where the trial runs"):
        filled(["${envvar:DATA}"], trial, 1, {})


def test_macros_of_the_trial_are_filled_where_it_runs(tmp_path: Path) -> None:
    trial = made(tmp_path)
    params = {"out": "${trial:dir}/out", "layers": ["${trial:number}", 2], "seed": "${trial:seed}"}
    facts = json.loads(trial.facts.read_text()) | {"params": params, "shown": {"lr": 1e-4}, "seed": 7}
    trial.facts.write_text(json.dumps(facts))
    spec = SweepSpec.from_json(
        {"name": "s", "method": "grid", "metric": {"name": "m"}, "command": ["x", "${args_json}", FILE, "${args}"]}
    )
    recorded = command_of(spec, params, seed=7)
    assert "--out=${trial:dir}/out" in recorded, "the directory of a run may be moved before the trial runs"

    words = filled([*recorded, "a-${trial:name}.pt", "${trial:number}"], trial, 1, {})
    inside = {"out": f"{tmp_path}/0000/out", "layers": ["0", 2], "seed": "7"}
    assert [json.loads(words[1]), json.loads(Path(words[2]).read_text())] == [inside, inside]
    assert words[3:] == [f"--out={tmp_path}/0000/out", "--layers=['0', 2]", "--seed=7", "a-0000_lr=1e-4.pt", "0"]
    elsewhere = trial.path.rename(tmp_path / "moved").rename(tmp_path / "run")
    (tmp_path / "new").mkdir()
    moved = TrialDir(elsewhere.rename(tmp_path / "new" / "0000"))
    assert filled(["${trial:dir}"], moved, 2, {}) == [f"{tmp_path}/new/0000"]


def test_variables_that_sweeper_sets_may_be_in_a_command(tmp_path: Path) -> None:
    trial = made(tmp_path / "runs/lr/trials")
    given = {"SWEEPER_TRIAL_DIR": str(trial.path)}
    words = filled(["${envvar:SWEEPER_TRIAL_DIR}/a", "ckpts/${envvar:WANDB_RUN_ID}.pt"], trial, 1, given)
    assert words == [f"{trial.path}/a", "ckpts/lr-0000.pt"]
    assert filled(["${envvar:WANDB_RUN_ID}"], trial, 1, {"WANDB_RUN_ID": "mine"}) == ["mine"]


SWEEP = """
program: show.py
command: ["${env}", "${interpreter}", "${program}", "--token=${envvar:TOKEN}", "${args_json_file}"]
method: grid
launch: LAUNCH
parameters: {x: {values: [1, 2, 3, 4]}}
resources: {cpus: 1}
"""
SHOW = "import json, sys\nprint(sys.argv[1], json.load(open(sys.argv[2])))\n"


def run(folder: Path, token: str | None) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "TOKEN"}
    return subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "run", "sweep.yaml", "--workers", "1"],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **({} if token is None else {"TOKEN": token})},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize("launch", ["spawn", "preload"])
def test_a_sweep_file_of_wandb_runs_and_no_record_contains_the_value_of_a_variable(tmp_path: Path, launch: str) -> None:
    words = SWEEP.replace("LAUNCH", launch)
    (tmp_path / "sweep.yaml").write_text(words if launch == "spawn" else words.replace('"${env}", ', ""))
    (tmp_path / "show.py").write_text(SHOW)
    done = run(tmp_path, None)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "command: ${envvar:TOKEN}: expected the variable TOKEN to be set, got none",
    )
    done = run(tmp_path, "hush")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sweep.yaml: name is not given, so the sweep is named after its file: sweep\n" in done.stderr
    trials = sorted((tmp_path / "runs/sweep/trials").iterdir())
    assert [(t / "attempts/1/output.log").read_text() for t in trials] == [
        f"--token=hush {{'x': {x}}}\n" for x in (1, 2, 3, 4)
    ]
    written = [path for path in (tmp_path / "runs").rglob("*") if path.is_file() and path.name != "output.log"]
    assert not [path for path in written if b"hush" in path.read_bytes()]


def test_an_attempt_with_an_unset_variable_does_not_start(tmp_path: Path) -> None:
    trial = made(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sweeper.worker.process.shim",
            str(trial.path),
            "1",
            "echo",
            "${envvar:NOBODY_SET_THIS}",
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "the environment variable NOBODY_SET_THIS is not set where the trial runs" in done.stderr
    ended = read_exit(trial.attempt(1))
    assert ended is not None
    assert (ended.code, ended.cause) == (127, "not-found")
