"""The text of a new sweep file: what each argument becomes, the metric, and what is left to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.errors import UsageError
from sweeper.preflight.draft import Draft, draft

SCRIPT = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("data", nargs="+")
p.add_argument("-x", type=int, default=1)
p.add_argument("--lr", type=float, default=0.1)
p.add_argument("--batch-size", type=int, default=32)
p.add_argument("--sizes", nargs=2, type=int)
p.add_argument("--tag", action="append")
p.add_argument("--output_dir", default="out")
print(vars(p.parse_args()))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def drafted(script: str, **given: str) -> Draft:
    Path("train.py").write_text(script)
    return draft("train.py", given)


def line(made: Draft, start: str) -> str:
    return next(line for line in made.text.splitlines() if line.startswith(start))


def test_the_whole_file() -> None:
    made = drafted(SCRIPT, data="[a, b]")
    expected = """\
# Written by `sweeper init train.py`. Parameters that were not given have the defaults of the script.
# `sweeper check` validates it, `sweeper plan` shows what it will do, and `sweeper run` runs it.
name: train
program: train.py
# parameters are passed as --name=value:
command: ['${interpreter}', '${program}', a, b, '${args}', '--output_dir=${trial:dir}/out']
method: grid  # every combination of the values below; random, tpe, gp, cmaes and qmc run until run_cap
# TO DO: this is a guess, because the names of the reported metrics could not be read:
metric: {name: loss/train, goal: minimize}  # the trials are ranked by it

parameters:
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  batch-size: {value: 32}
  # Not in this file, so the script uses its own value:
  #   x has only the short form -x: write it in command
  #   sizes takes several values: write them in command
  #   tag takes several values: write them in command

# A metric that the script only prints can be read from its output:
# metrics: {loss/test: {output: 'test loss: ([0-9.eE+-]+)'}}
# The script does not report to sweeper yet: three lines with sweeper.trial() report its metric and layers
# early_stop: auto  # with them, stop failing trials early and record why
"""
    assert made.text == expected


def test_given_values_are_words_of_the_command_where_no_parameter_can_pass_them() -> None:
    made = drafted(SCRIPT, data="[a]", x="3", sizes="[1, 2]", tag="[a, b]", output_dir="here", batch_size="8")
    assert line(made, "command:") == (
        "command: ['${interpreter}', '${program}', a, '${args}', -x, \"3\", --sizes, \"1\", \"2\", --tag=a, --tag=b]"
    )
    assert "  output_dir: {value: here}\n" in made.text
    assert "  batch-size: {value: 8}\n" in made.text


@pytest.mark.parametrize(
    ("script", "watched"),
    [("import torch", True), ("import beside", True), ("import numpy", False), ("import sweeper, torch", False)],
)
def test_an_unmodified_script_with_torch_is_watched(script: str, watched: bool) -> None:
    Path("beside.py").write_text("from lightning import Trainer\n")
    tail = drafted(f"{script}\n{SCRIPT}", data="d").text.split("\n\n")[-1]
    assert ("watch: auto  # the script is watched without changes\nearly_stop: auto  # stop" in tail) is watched
    assert ("\n# early_stop: auto" in tail) is ("numpy" in script)


def test_the_metric_of_an_unmodified_script_that_logs_nothing_is_the_loss_of_backward() -> None:
    made = drafted(f"import torch\n{SCRIPT}", data="d")
    assert line(made, "metric:").startswith("metric: {name: loss/backward, goal: minimize}")


def test_a_metric_that_is_printed_only_is_offered_as_a_source() -> None:
    made = drafted(f"{SCRIPT}\nprint(f'epoch {{1}}, val acc: {{0.5}}')", data="d")
    assert line(made, "metric:") == "metric: {name: accuracy/test, goal: maximize}  # the trials are ranked by it"
    assert line(made, "# metrics:") == "# metrics: {accuracy/test: {output: 'val acc: ([0-9.eE+-]+)'}}"
    assert "# TO DO: the script only prints this metric: remove the # before `metrics` below" in made.text


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ("{'train/loss': 1, 'val/loss': 2, 'val/acc': 3}", "{name: val/acc, goal: maximize}"),
        ("{'train/acc': 1, 'val/loss': 2}", "{name: val/loss, goal: minimize}"),
        ("{'eval_wer': 1}", "{name: eval_wer, goal: minimize}"),
    ],
)
def test_the_metric_of_held_out_data_is_chosen(logged: str, expected: str) -> None:
    assert line(drafted(f"{SCRIPT}\nrun.log({logged})", data="d"), "metric:").startswith(f"metric: {expected}")


def test_a_script_without_arguments_gets_a_file_to_fill_in(capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.py").write_text("print(1)\n")
    assert main(["init", "train.py"]) == 0
    said = "no arguments were found in the script, so nothing can be varied yet: let it take some"
    assert capsys.readouterr().err.startswith(f"left to do: {said}")
    text = Path("train.yaml").read_text()
    assert f"# TO DO: {said}" in text
    assert "parameters: {}\n  # lr: {values: [1e-4, 3e-4, 1e-3]}  # passed as --lr=0.0001\n" in text


def test_a_script_of_two_families_is_read_by_one_and_says_so() -> None:
    made = drafted(f"import click\n@click.command()\n@click.option('--a', default=1)\ndef main(a): pass\n{SCRIPT}")
    assert made.to_do == ("the script uses click, which was read, and argparse, which was not: add what is missing",)
    assert "# TO DO: the script uses click, which was read, and argparse" in made.text
    assert "  a: {value: 1}\n" in made.text


def test_what_could_not_be_read_is_in_the_file() -> None:
    made = drafted("import tyro\ntyro.cli(make())\n")
    assert made.unread == ("train.py:2: tyro.cli(make())",)
    assert "# TO DO: could not be read, so it is not in this file: train.py:2: tyro.cli(make())\n" in made.text
    assert "${args}" in line(made, "command:")


def test_no_more_than_a_hundred_parameters_are_written() -> None:
    more = "".join(f"p.add_argument('--p{number}', default=1)\n" for number in range(120))
    made = drafted(f"import argparse\np = argparse.ArgumentParser()\n{more}")
    assert made.text.count("{value: 1}") == 100
    assert "  #   p100 is beyond the first 100 values" in made.text


def test_a_given_name_that_is_no_argument_is_refused() -> None:
    with pytest.raises(UsageError, match=r"train\.py: expected one of its arguments, got lrr; did you mean lr\?"):
        drafted(SCRIPT, lrr="1")


@pytest.mark.parametrize(
    ("default", "values"), [(0.9, "[0.7, 0.9, 0.9667]"), (0.5, "[0.2, 0.5, 0.75]"), (3e-4, "[1e-4, 3e-4, 9e-4]")]
)
def test_suggested_values_of_a_fraction_stay_below_one(default: float, values: str) -> None:
    made = drafted(f"import argparse\np = argparse.ArgumentParser()\np.add_argument('--a', default={default})")
    assert line(made, "  a:").endswith(f"# to vary it: {{values: {values}}}")


def test_a_script_with_relative_imports_is_started_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src/mine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "opts.py").write_text(SCRIPT)
    (package / "train.py").write_text("from .opts import p\n")
    made = draft("src/mine/train.py", {"data": "d"})
    assert line(made, "command:").startswith("command: ['${interpreter}', -m, mine.train, d, '${args}'")
    assert "program:" not in made.text
    assert made.to_do == (f"run sweeper in {tmp_path / 'src'}, where `python -m mine.train` finds the script",)
    monkeypatch.chdir("src")
    assert draft("mine/train.py", {"data": "d"}).to_do == ()


@pytest.mark.parametrize(("given", "written"), [("[8, 8]", "{value: [8, 8]}"), ("[[8], [9]]", "{values: [[8], [9]]}")])
def test_a_list_is_the_value_of_an_argument_that_is_a_list(given: str, written: str) -> None:
    made = drafted("import fire\ndef main(layers=(1, 2)): pass\nfire.Fire(main)\n", layers=given)
    assert f"  layers: {written}\n" in made.text


ARGUMENTS = (
    "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', type=float, default=0.1)\n"
)
SPAWNS = """
import torch.distributed as dist, torch.multiprocessing as mp
def main(rank):
    dist.init_process_group("gloo")
mp.spawn(main, nprocs=2)
"""


@pytest.mark.parametrize(
    ("script", "is_said"),
    [
        ("import torch.distributed as dist\ndist.init_process_group('gloo')\n", True),
        ("from torch.distributed import init_process_group\ninit_process_group('nccl')\n", True),
        (SPAWNS, False),
        ("import torch\n", False),
    ],
)
def test_a_script_that_waits_for_other_ranks_gets_the_command_that_starts_them(script: str, is_said: bool) -> None:
    Path("train.py").write_text(script + ARGUMENTS)
    assert ("torch.distributed.run" in " ".join(draft("train.py", {}).to_do)) == is_said
