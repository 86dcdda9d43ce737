"""`sweeper init`: a file that is right and runs as it is, from what a script or a function takes; it is not run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.config import SweepSpec, load
from sweeper.orchestrator.trial_command import command_of
from sweeper.search.grid import Grid

ROOT = Path(__file__).parents[3]
SCRIPT = """
import argparse, os
print("THE SCRIPT RAN")
LR, DECAY = 3e-4, 0.01

def parser():
    p = argparse.ArgumentParser()
    p.add_argument("data", help="where the data is")
    p.add_argument("-l", "--lr", type=float, default=LR, help="learning rate (%(default)s), 100%% of it")
    p.add_argument("--batch-size", type=int, default="32")
    p.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    p.add_argument("--amp", action="store_true")
    p.add_argument("--no-cuda", action="store_false", dest="cuda")
    p.add_argument("--nesterov", type=lambda text: text == "True", default=False)
    p.add_argument("--seed", type=int, default=3)
    p.add_argument("--decay", type=float)
    p.set_defaults(decay=DECAY)
    p.add_argument("--layers", nargs="+", type=int, default=[1, 2])
    p.add_argument("--workers", type=int, default=os.cpu_count())
    p.add_argument("--resume")
    p.add_argument("-v", action="count")
    p.add_argument("-x", type=int, default=1)
    p.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    p.add_argument("--fp8", action=argparse.BooleanOptionalAction, default=False)
    p.add_argument("--pretrained", type=bool, default=True)
    p.add_argument("--odd: one", default="yes, [no]: #1")
    return p
"""
RUNS = """
if __name__ == "__main__":
    args = vars(parser().parse_args())
    print({name: args[name] for name in ("data", "lr", "amp", "cuda", "nesterov", "seed", "decay", "fp8")})
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path: str = "train.yaml") -> SweepSpec:
    return load(path, has_cuda=False, trainers={})


def first_command(spec: SweepSpec) -> list[str]:
    return command_of(spec, next(iter(Grid(spec.parameters).points())), spec.seeds[0])


def test_the_file_of_a_script_is_right_and_its_trial_is_the_script_by_its_defaults(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Path("train.py").write_text(SCRIPT + RUNS)
    assert main(["init", "train.py", "data=my data"]) == 0
    out, err = capfd.readouterr()
    assert (
        out == "train.yaml: written; 1 trial (1 arm x 1 seed). To vary more, edit it. Next: `sweeper run train.yaml`\n"
    )
    assert "THE SCRIPT RAN" not in out + err
    command = first_command(read())
    done = subprocess.run(command, capture_output=True, text=True)
    by_hand = subprocess.run([sys.executable, "train.py", "my data"], capture_output=True, text=True)
    assert done.stdout == by_hand.stdout, done.stderr
    assert command[2:] == [
        *("my data", "--lr=0.0003", "--batch-size=32", "--optimizer=adam", "--nesterov=False", "--decay=0.01"),
        "--seed=3",
    ]


def test_what_each_argument_becomes() -> None:
    Path("train.py").write_text(SCRIPT)
    assert main(["init", "train.py", "data=d", "lr=[1e-4,3e-4]", "workers=2"]) == 0
    lines = Path("train.yaml").read_text().splitlines()
    for line in (
        "  # learning rate ([0.0001, 0.0003]), 100% of it",
        "  lr: {values: [1e-4, 3e-4]}",
        "  optimizer: {value: adam}  # to vary it: {values: [adam, sgd]}",
        "  amp: {value: false}  # to vary it: {values: [false, true]}",
        '  nesterov: {value: "False"}  # to vary it: {values: ["False", "True"]}',
        "  decay: {value: 0.01}  # to vary it: {values: [3e-3, 0.01, 0.03]}",
        "  workers: {value: 2}",
        "  #   layers takes several values: write them in command",
        "  #   resume has no default",
        "  #   v takes several values: write them in command",
        "  #   x has only the short form -x: write it in command",
        "  # turns compile off, which is on by default",
        "  no-compile: {value: false}  # to vary it: {values: [false, true]}",
        "  #   odd: one has a name that no parameter can have: write it in command",
        "  #   pretrained has the type bool, for which any text is true, even False",
        "seeds: [3]  # each configuration runs once per seed; [0, 1, 2] gives means with intervals",
    ):
        assert line in lines
    assert set(read().parameters) == {
        *("lr", "batch-size", "optimizer", "amp", "no-cuda", "nesterov", "decay", "workers", "no-compile", "fp8")
    }


TRIAL = """
import sweeper
DEFAULTS = {"lr": 1e-3, "activation": "tanh"}
with sweeper.trial(defaults=DEFAULTS) as trial:
    print(dict(trial.params), trial.seed)
    for step in range(3):
        values = {"loss/train": 1.0}
        values["accuracy/test"] = 0.5
        trial.report(values, step=step)
"""


def test_a_script_with_a_trial_is_swept_by_its_defaults_and_run_as_the_file_says() -> None:
    Path("train.py").write_text(TRIAL)
    assert main(["init", "train.py", "--out", "mine.yaml"]) == 0
    spec = read("mine.yaml")
    assert (spec.name, spec.metric.name, spec.metric.goal.value) == ("train", "accuracy/test", "maximize")
    assert spec.early_stop is not None
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "run", "mine.yaml"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path("runs/train/trials/0000/attempts/1/output.log").read_text() == "{'lr': 0.001, 'activation': 'tanh'} 0\n"


def test_a_function_s_arguments(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("job.py").write_text(
        "raise SystemExit('it ran')\nimport os\n"
        "def train(trial, lr, seed, width=128, amp=False, tag=None, cores=os.cpu_count(), **more): ...\n"
    )
    assert main(["init", "job:train"]) == 2
    assert capsys.readouterr().err == (
        "job:train: these arguments have no default: lr. Give their values: `sweeper init job:train lr=...`\n"
    )
    assert main(["init", "job:train", "lr=[1e-4, 3e-4]"]) == 0
    spec = read()
    assert (spec.trainer, list(spec.parameters)) == ("job:train", ["lr", "width", "amp"])
    assert main(["check", "train.yaml"]) == 0


def test_arguments_in_a_module_beside_the_script_are_found() -> None:
    Path("options.py").write_text(SCRIPT)
    Path("train.py").write_text("import torch\nfrom options import parser\nprint(parser().parse_args())\n")
    assert main(["init", "train.py", "data=d"]) == 0
    assert "batch-size" in read().parameters


def test_what_cannot_be_read_is_said_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.py").write_text(
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', default=1.0)\n"
        "for n in 'ab':\n    p.add_argument(f'--{n}', default=1)\n"
    )
    assert main(["init", "train.py"]) == 0
    said = "could not be read, so it is not in the file: train.py:5: p.add_argument(f'--{n}', default=1)\n"
    assert capsys.readouterr().err == said
    assert list(read().parameters) == ["lr"]


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (None, ["train.py"], "train.py: the script cannot be read: No such file or directory"),
        ("def f(:\n", ["train.py"], "train.py:1: expected Python, got: invalid syntax"),
        (
            SCRIPT,
            ["train.py"],
            ("train.py: these arguments have no default: data. Give their values: `sweeper init train.py data=...`"),
        ),
        (SCRIPT, ["train.py", "data=a", "lrr=1"], "train.py: expected one of its arguments, got lrr; did you mean lr?"),
        (SCRIPT, ["train.py", "data"], "expected NAME=VALUE, got data"),
        (SCRIPT, ["train.py", "data=a", "lr={"], "command line: lr: expected YAML, got "),
        (
            SCRIPT,
            ["train.py", "data=a", "lr=[]"],
            "no file was written, since it would not be right:\ntrain.yaml:14: parameters.lr.values: expected ",
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], text: str | None, arguments: list[str], said: str
) -> None:
    if text is not None:
        Path("train.py").write_text(text)
    assert main(["init", *arguments]) == 2
    assert capsys.readouterr().err.startswith(said)
    assert not Path("train.yaml").exists()


def test_a_file_that_is_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.py").write_text(TRIAL)
    Path("train.yaml").write_text("mine\n")
    assert main(["init", "train.py"]) == 2
    assert capsys.readouterr().err == "train.yaml: is there already; write elsewhere with --out\n"
    assert Path("train.yaml").read_text() == "mine\n"
    assert main(["init", "train.py", "--out", "-"]) == 0
    assert "parameters:\n  lr: {value: 1e-3}" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["plain_loop", "hf_trainer", "lightning_module", "ddp"])
def test_the_shipped_examples(script: str) -> None:
    assert main(["init", str(ROOT / f"experiments/{script}.py")]) == 0
    assert "lr" in read(f"{script}.yaml").parameters
