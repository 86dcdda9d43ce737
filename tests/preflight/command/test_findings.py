"""What is found before the start: programs that are not there, and commands that would make all trials alike."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.config import Complaint, Remark, SweepSpec
from sweeper.preflight.command.findings import findings

PARAMETERS = {"d": {"values": [13, 14]}, "lr": {"values": [0.1, 0.2]}, "fixed": {"value": 2}}
PLAIN = "import argparse\nargparse.ArgumentParser().parse_known_args()\n"
OPENS = "import sweeper\nwith sweeper.trial() as trial: print(trial.params)\n"
FILES = {
    "train.py": PLAIN,
    "opens.py": OPENS,
    "far.py": "from package.inner import run\nrun()\n",
    "package/__init__.py": "",
    "package/inner.py": "def run():\n    import sweeper\n    print(sweeper.trial())\n",
    "with_wandb.py": "import wandb\nwandb.init()\nprint(wandb.config.d)\n",
    "run.sh": "set -e\nexec python opens.py\n",
    "plain.sh": "exec python train.py\n",
    "starts.py": "import subprocess, sys\nsubprocess.run([sys.executable, 'opens.py'])\n",
    "needs.py": "import argparse\nimport no_such_package\nimport json\nfrom package import inner\n",
    "guarded.py": "try:\n    import no_such_package\nexcept ImportError:\n    pass\n",
}
PY = "${interpreter}"

Find = Callable[..., list[Complaint | Remark]]


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)

    def find(*words: str, **keys: object) -> list[Complaint | Remark]:
        given = {"name": "s", "method": "grid", "metric": {"name": "m"}, "parameters": PARAMETERS}
        command = {"command": words} if words else {}
        spec = SweepSpec.from_json({**given, **command, **keys})
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        return list(findings(spec, frozenset(keys), environment))

    return find


def text(found: list[Complaint | Remark]) -> list[str]:
    return [
        f"{'.'.join(map(str, one.path))}: {one.text}"
        if isinstance(one, Remark)
        else f"{'.'.join(map(str, one.path))}: expected {one.expected}, got {one.got}; {one.hint}"
        for one in found
    ]


NO_SUCH, NOT_IN_PATH = "which does not exist; did you mean", "which is not in PATH;"


@pytest.mark.parametrize(
    ("words", "place", "said"),
    [
        ((PY, "trian.py", "${args}"), 1, f"a script, got 'trian.py', {NO_SUCH} train.py?"),
        (("python3", "-u", "-W", "ignore", "inner.py"), 4, f"a script, got 'inner.py', {NO_SUCH} package/inner.py?"),
        ((PY, "-m", "package.iner"), 2, f"a module, got 'package.iner', {NO_SUCH} package.inner?"),
        ((PY, "-m", "torch.distributed.run", "opns.py"), 3, f"a script, got 'opns.py', {NO_SUCH} opens.py?"),
        (("${env}", "A=1", "bash", "rum.sh"), 3, f"a script, got 'rum.sh', {NO_SUCH} run.sh?"),
        (("run.sh",), 0, f"a program, got 'run.sh', {NOT_IN_PATH} write ./run.sh"),
        (
            ("./run.sh",),
            0,
            "a program, got './run.sh', which is not executable; make it executable (chmod",
        ),
        (("./rn.sh",), 0, f"a program, got './rn.sh', {NO_SUCH} run.sh?"),
        (("python9.9", "train.py"), 0, f"a program, got 'python9.9', {NOT_IN_PATH} write \"${{interpreter}}\" for"),
        (("mytool", "train.py"), 0, f"a program, got 'mytool', {NOT_IN_PATH} did you mean mytools?"),
        ((PY, "package"), 1, "a script, got 'package', a directory without __main__.py; "),
    ],
)
def test_what_is_not_there_is_a_mistake(
    find: Find, tmp_path: Path, words: tuple[str, ...], place: int, said: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mytools").touch()
    found = find(*words)
    assert isinstance(found[0], Complaint)
    assert text(found)[0].startswith(f"command.{place}: expected {said}")


@pytest.mark.parametrize(
    "keys", [{"program": "trian.py"}, {"program": "trian.py", "command": (PY, "${program}", "${args}")}]
)
def test_a_program_is_named_by_its_key(find: Find, keys: dict[str, object]) -> None:
    assert text(find(**keys)) == [f"program: expected a script, got 'trian.py', {NO_SUCH} train.py?"]


def test_on_another_machine_it_is_a_warning(find: Find) -> None:
    found = find(PY, "trian.py", "${args}", executor={"type": "slurm"})
    assert isinstance(found[0], Remark)
    assert "'trian.py', which does not exist on this machine" in found[0].text


@pytest.mark.parametrize(
    "words",
    [
        (PY, "train.py", "${args}"),
        ("${env}", PY, "train.py", "${args_append_hydra}"),
        (PY, "-c", "print(1)", "${args}"),
        (PY, "-m", "package.inner"),
        (PY, "-m", "json.tool", "${args}"),
        (PY, "${envvar:WHERE}/train.py", "${args}"),
        (PY, "${params:d}.py", "${args}"),
        ("bash", "-c", 'python train.py "$@"', "x", "${args}"),
        ("sh", "plain.sh", "${args}"),
        ("true",),
        ("echo", "a.py"),
    ],
)
def test_what_is_there_is_no_mistake(find: Find, words: tuple[str, ...]) -> None:
    assert text(find(*words)) == []


WRITES = """
import argparse
import sweeper
parser = argparse.ArgumentParser()
parser.add_argument("--output-dir", default="out")
parser.add_argument("--log_dir")
parser.add_argument("--data_dir", default="data")
parser.add_argument("--d")
parser.parse_known_args()
sweeper.trial()
"""


def test_an_output_that_the_script_has_by_default_is_warned_of(find: Find) -> None:
    Path("writes.py").write_text(WRITES)
    (found,) = find(PY, "writes.py", "${args}")
    assert isinstance(found, Remark)
    assert found.text.startswith("writes.py has --output-dir=out by default, so every trial would write there")
    assert found.text.endswith('add "--output-dir=${trial:dir}/out" to command')
    (in_program,) = find(program="writes.py")
    assert in_program.path == ("program",)


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ((PY, "writes.py", "--output-dir=${trial:dir}/o", "${args}"), {}),
        ((PY, "writes.py", "--output_dir", "o", "${args}"), {}),  # the check of the command warns of that
        (
            (PY, "writes.py", "${args}"),
            {"parameters": {"output_dir": {"value": "${trial:dir}"}, "d": {"values": [1, 2]}}},
        ),
        ((PY, "writes.py", "${args}"), {"run_cap": 1}),
        ((PY, "writes.py", "${args}"), {"parameters": {"d": {"value": 1}}}),
    ],
)
def test_an_output_that_is_given_or_of_one_trial_alone_is_not_warned_of(
    find: Find, words: tuple[str, ...], keys: dict[str, object]
) -> None:
    Path("writes.py").write_text(WRITES)
    assert text(find(*words, **keys)) == []


ALIKE = "all trials would run with the same settings"


@pytest.mark.parametrize(
    ("words", "names", "said"),
    [
        (("${env}", PY, "train.py"), "d and lr", ALIKE),
        (("${env}", "sh", "plain.sh"), "d and lr", ALIKE),
        ((PY, "train.py", "--cfg=${params:d}.yaml"), "lr", "trials that differ in it would be alike"),
        (("bash", "-c", "python train.py --d $d"), "d and lr", ALIKE),
        (("bash", "-c", "python train.py ${args}"), "d and lr", ALIKE),
        (("bash", "-c", "python train.py", "x", "${args}"), "d and lr", ALIKE),
        (("${env}", PY, "-c", "print(1)"), "d and lr", ALIKE),
        (("${env}", PY, "with_wandb.py"), "d and lr", ALIKE),
    ],
)  # fmt: skip
def test_a_command_that_passes_no_parameters_is_a_mistake(
    find: Find, words: tuple[str, ...], names: str, said: str
) -> None:
    (found,) = [one for one in find(*words) if isinstance(one, Complaint)]
    assert (found.path, found.expected) == (("command",), f"a macro that passes {names}")
    assert said in found.got
    assert "${args}" in found.hint


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("${env}", PY, "opens.py"), {}),
        (("${env}", PY, "far.py"), {}),
        (("${env}", PY, "-m", "package.inner"), {}),
        (("${env}", PY, "-c", "import sweeper; sweeper.trial()"), {}),
        (("${env}", "sh", "run.sh"), {}),
        (("${env}", PY, "starts.py"), {}),
        (("${env}", PY, "-m", "torch.distributed.run", "--standalone", "opens.py"), {}),
        (("${env}", PY, "with_wandb.py"), {"watch": "auto"}),
        (("${env}", PY, "train.py"), {"run_cap": 1}),
        (("${env}", PY, "train.py"), {"parameters": {"d": {"value": 1}, "e": {"values": [2]}}}),
        (("${env}", PY, "train.py", "--a=${params:d}", "--b", "${params:lr}"), {}),
        (("${env}", PY, "train.py", "${args_json_file}"), {}),
        (("${env}", PY, "train.py", "${args_spread}"), {}),
    ],
)
def test_a_script_that_reads_its_parameters_is_right(
    find: Find, words: tuple[str, ...], keys: dict[str, object]
) -> None:
    assert text(find(*words, **keys)) == []


def test_a_function_as_trainer_gets_its_parameters(find: Find) -> None:
    spec = {"name": "s", "method": "grid", "metric": {"name": "m"}, "parameters": PARAMETERS, "trainer": "a:b"}
    assert list(findings(SweepSpec.from_json(spec), frozenset({"metric"}))) == []


def test_a_program_that_cannot_be_read_is_warned_of(find: Find) -> None:
    (found,) = find("${env}", "true")
    assert isinstance(found, Remark)
    assert found.text.startswith(f"no macro passes d and lr, so {ALIKE}, unless the program reads them")


def test_an_interpreter_without_the_packages_is_warned_of(find: Find, tmp_path: Path) -> None:
    other = tmp_path / "bin/python"
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without the installed packages
    other.chmod(other.stat().st_mode | stat.S_IXUSR)
    Path("train.py").write_text(f"import pydantic\n{PLAIN}")
    assert text(find("python", "train.py", "${args}")) == [
        (
            f"command.0: python is {other}, which lacks pydantic, imported by train.py; "
            'write "${interpreter}" for the Python that runs sweeper, which has it'
        )
    ]
    assert find(PY, "train.py", "${args}") == []
    assert text(find(PY, "needs.py", "${args}")) == [
        f"command.0: {sys.executable} lacks no_such_package, imported by needs.py; install what is missing"
    ]
    assert find(PY, "guarded.py", "${args}") == []
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert find("python", "train.py", "${args}") == []


@pytest.mark.parametrize("word", ["# made for sweeper", "mysweeper.trial()", "print('a sweeper')"])
def test_the_word_alone_does_not_read_parameters(find: Find, word: str) -> None:
    Path("train.py").write_text(f"{PLAIN}{word}\n" if word.startswith("#") else f"{PLAIN}if 0: {word}\n")
    (found,) = find("${env}", PY, "train.py")
    assert isinstance(found, Complaint)


def test_a_file_that_is_only_named_need_not_run_here(find: Find) -> None:
    Path("train.py").write_text(f'"""See needs.py."""\n{PLAIN}')
    assert find(PY, "train.py", "${args}") == []


@pytest.mark.parametrize(
    ("text_of_script", "words"),
    [
        ("import hydra\n", ()),
        ("from lightning.pytorch.cli import LightningCLI\n", ()),
        ("", ("--callbacks=sweeper.integrations.LightningCallback",)),
    ],
)
def test_a_callback_that_a_configuration_names_may_open_the_trial(
    find: Find, text_of_script: str, words: tuple[str, ...]
) -> None:
    Path("train.py").write_text(
        f"if 1:\n    pass\ntry:\n    {text_of_script or 'pass'}\nexcept ImportError:\n    pass\n"
    )
    assert find(PY, "train.py", *words, "${args}", metric={"name": "acc"}) == []


NEVER, UNRANKED = "never opens a trial, so nothing reports", "trials cannot be ranked"


@pytest.mark.parametrize(
    ("words", "keys", "said"),
    [
        ((PY, "train.py", "${args}"), {"metric": {"name": "acc"}}, f"metric: train.py {NEVER} 'acc': {UNRANKED}; "),
        (
            (PY, "train.py", "${args}"),
            {"early_stop": {"rules": [{"stalled": {}}]}},
            f"early_stop: train.py {NEVER} 'm': {UNRANKED}, and no rule can fire (stalled)",
        ),
        (
            (PY, "train.py", "${args}"),
            {"objectives": [{"name": "acc"}, {"name": "ms"}]},
            f"objectives: train.py {NEVER} 'acc' and 'ms': {UNRANKED}; ",
        ),
        (("sh", "plain.sh"), {"metric": {"name": "acc"}}, f"metric: plain.sh {NEVER} 'acc': {UNRANKED}; "),
    ],
)
def test_a_script_that_never_opens_a_trial_is_warned_of(
    find: Find, words: tuple[str, ...], keys: dict[str, object], said: str
) -> None:
    (found,) = text(find(*words, **keys))
    assert found.startswith(said)
    assert find(*words, **keys, watch="auto") == []
    assert find(*words, **keys, metrics={"acc": {"output": "acc=(.+)"}}) == []
    assert find(words[0], "run.sh" if words[0] == "sh" else "far.py", **keys) == []


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_each_command_refuses_before_anything_starts(
    find: Find, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = {"name": "s", "method": "grid", "parameters": PARAMETERS}
    Path("s.yaml").write_text(json.dumps({**file, "command": ["${env}", PY, "train.py"]}, indent=1))
    assert main([command, "s.yaml"]) == 2
    assert f"s.yaml:21: command: expected a macro that passes d and lr, got none: {ALIKE}" in capsys.readouterr().err
    Path("s.yaml").write_text(json.dumps({**file, "program": "trian.py"}))
    assert main([command, "s.yaml"]) == 2
    assert "s.yaml:1: program: expected a script, got 'trian.py'" in capsys.readouterr().err
    assert not Path("runs").exists()


LOGS = "import torch, wandb\nwandb.init()\nwandb.log({'val_acc': 1, 'epoch': 2})\n"


@pytest.mark.parametrize(
    "name", ["val_acc", "accuracy/test", "val/acc", "loss/backward", "loss/backward/optD", "loss/train"]
)
def test_a_metric_that_an_unmodified_script_may_log_is_right(find: Find, name: str) -> None:
    Path("train.py").write_text(LOGS)
    assert find(PY, "train.py", "${args}", metric={"name": name}, watch="auto") == []


def test_a_metric_that_an_unmodified_script_does_not_log_is_warned_of(find: Find) -> None:
    Path("train.py").write_text(LOGS)
    (line,) = text(find(PY, "train.py", "${args}", metric={"name": "acc"}, watch="auto"))
    assert line == (
        "metric.name: train.py logs val_acc, as far as its source shows (did you mean val_acc?); "
        "loss/backward is always recorded"
    )
    read = {"acc": {"output": "acc (.+)"}}
    assert find(PY, "train.py", "${args}", metric={"name": "acc"}, watch="auto", metrics=read) == []
    Path("train.py").write_text("import torch\nlog = print\n")
    assert find(PY, "train.py", "${args}", metric={"name": "acc"}, watch="auto") == []


@pytest.mark.parametrize("command", [(PY, "train.py", "${args}"), (PY, "train.py", "${args_json}")])
def test_a_value_that_no_argument_can_hold_is_a_mistake(find: Find, command: tuple[str, ...]) -> None:
    for parameter in ({"values": ["a", "x" * 140_000]}, {"value": "ü" * 70_000}):
        (found,) = text(find(*command, parameters={"d": {"values": [1, 2]}, "note": parameter}))
        assert found.startswith("parameters.note: expected values that fit into an argument of at most 131,071 bytes")
        assert "${args_json_file}" in found
    assert find(*command, parameters={"d": {"values": [1, 2]}, "note": {"value": "x" * 20_000}}) == []
    assert find(PY, "opens.py", "${args_json_file}", parameters={"note": {"values": ["x" * 140_000, "a"]}}) == []
