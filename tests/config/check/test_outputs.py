"""Paths that several trials would write to are named, and few others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config import load

LR = {"lr": {"values": [1, 2]}}


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `load` says about a sweep with these keys."""
    monkeypatch.chdir(tmp_path)

    def lines(**keys: Any) -> list[str]:
        given = {"name": "s", "metric": {"name": "m"}, "method": "grid", "parameters": LR, **keys}
        if "command" not in given:
            given["program"] = "train.py"
        Path("s.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
        notes: list[str] = []
        load("s.yaml", has_cuda=False, trainers={}, say=notes.append)
        return notes

    return lines


def test_a_fixed_output_parameter_is_named_with_its_line_and_what_to_write(said: Any) -> None:
    (line,) = said(parameters={**LR, "output_dir": {"value": "out"}})
    number = Path("s.yaml").read_text().splitlines().index("    value: out") + 1
    assert line == (
        f"s.yaml:{number}: parameters.output_dir.value: every trial would write to 'out', so one could resume from, "
        "or overwrite, the files of another; write ${trial:dir}/out"
    )
    assert said(parameters={**LR, "output_dir": {"values": ["out"]}}), "one value is a fixed value"


@pytest.mark.parametrize(
    "words",
    [
        ["--output_dir", "out"],
        ["--output-dir=out"],
        ["--out_dir", "out"],
        ["--outdir", "out"],
        ["--work-dir", "out"],
        ["--log_dir", "runs/a"],
        ["--logdir=runs"],
        ["--save_dir", "out"],
        ["--ckpt_dir", "out"],
        ["--checkpoint_dir", "out"],
        ["--save-path", "out/model.pt"],
        ["--default_root_dir", "out"],
        ["--trainer.default_root_dir=out"],
        ["--outputDir", "out"],
        ["--save", "model.pt"],
        ["-o", "out/x"],
        ["--output-data-dir", "out"],
        ["hydra.run.dir=outputs/a"],
        ["++training.output_dir=out"],
        ["--output_dir", "out/${trial:seed}"],
        ["--output_dir", "${envvar:HOME}/out"],
        ["bash", "-c", "python train.py --output_dir out"],
    ],
    ids=" ".join,
)
def test_an_output_in_the_command_is_named(said: Any, words: list[str]) -> None:
    (line,) = said(command=["python", "train.py", *words])
    assert "every trial would write to" in line
    assert "${trial:dir}/" in line


@pytest.mark.parametrize(
    "words",
    [
        ["--output_dir", "${trial:dir}/out"],
        ["--output_dir", "out/${trial:name}"],
        ["--output_dir", "out/${trial:number}"],
        ["--output_dir", "${envvar:SWEEPER_TRIAL_DIR}/out"],
        ["hydra.run.dir=outputs/${now:%Y-%m-%d}"],
        ["bash", "-c", "python train.py --output_dir $(mktemp -d)"],
        ["--data_dir", "/data"],
        ["--cache_dir", "/cache"],
        ["--model_dir", "bert"],
        ["--ckpt_path", "start.ckpt"],
        ["--checkpoint_path", "start.ckpt"],
        ["--pretrained_checkpoint_dir", "a/b"],
        ["--resume_from_checkpoint", "a/b"],
        ["--init-checkpoint-dir", "a/b"],
        ["--log_level", "info"],
        ["--logging_steps", "10"],
        ["--save_strategy", "epoch"],
        ["--save", "best"],
        ["--output", "json"],
        ["--output_format", "a/b"],
        ["--overwrite_output_dir", "true"],
        ["--log_file", "/dev/null"],
        ["--log-config-file", "log.ini"],
        ["--output_dir"],
        ["--lr=1", "x.py", "out/dir"],
    ],
    ids=" ".join,
)
def test_a_path_of_its_own_and_what_is_read_is_not_named(said: Any, words: list[str]) -> None:
    assert said(command=["python", "train.py", *words]) == []


def test_one_trial_may_write_anywhere(said: Any) -> None:
    fixed = {"output_dir": {"value": "out"}, "lr": {"value": 1}}
    assert said(parameters=fixed) == []
    assert said(parameters={**LR, **fixed, "lr": LR["lr"]}, run_cap=1) == []
    assert said(parameters=fixed, method="random", run_cap=1) == []
    assert said(parameters=fixed, seeds=[0, 1])
    assert said(parameters=fixed, method="random", run_cap=2)


def test_the_seed_tells_trials_apart_only_where_nothing_else_does(said: Any) -> None:
    by_seed = {"output_dir": {"value": "out/${trial:seed}"}}
    assert said(parameters=by_seed, seeds=[0, 1]) == []
    assert said(parameters={**by_seed, **LR}, seeds=[0, 1])


def test_a_varied_parameter_replaces_what_is_in_the_command(said: Any) -> None:
    command = ["python", "train.py", "--output_dir", "out", "${args}"]
    assert said(command=command)
    assert said(command=command, parameters={"output-dir": {"values": ["a", "b"]}}) == []


def test_a_directory_of_sweeper_itself_is_named(said: Any) -> None:
    (line,) = said(parameters={"ckpt_dir": {"value": "${trial:dir}/checkpoints"}})
    assert "${trial:dir}/checkpoints is a directory of sweeper itself; write ${trial:dir}/out/checkpoints" in line


def test_a_checkpoint_that_all_trials_would_resume_from_is_named(said: Any) -> None:
    given = {"args": ["--resume"], "if_exists": "out/last.pt"}
    (line,) = said(resume_args=given)
    assert "resume_args: every trial would resume from 'out/last.pt'; write ${trial:dir}/last.pt" in line
    assert said(resume_args=["--resume", "${trial:dir}/last.pt"]) == []
