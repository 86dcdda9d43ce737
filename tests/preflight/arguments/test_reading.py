"""A path that is no Python script, modules beside the script, and which code of these counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.errors import UsageError
from sweeper.preflight.arguments import arguments_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(path: str = "train.py") -> list[str]:
    return [one.name for one in arguments_of(Path(path), {}).arguments]


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("tain.py", None, "tain.py: the script cannot be read: No such file or directory; did you mean train.py?"),
        ("no/train.py", None, "no/train.py: the script cannot be read: No such file or directory"),
        (
            "explore.ipynb",
            "{}",
            (
                "explore.ipynb: expected a Python script, got a notebook; convert it with `jupyter nbconvert --to "
                "script explore.ipynb`, and give its values as arguments"
            ),
        ),
        ("sweep.yaml", "a: 1", "sweep.yaml: expected a Python script, got a YAML file"),
        (
            "run.sh",
            "#!/bin/sh\ncd /\nexec python src/train.py --lr=1\n",
            (
                "run.sh: expected a Python script, got a shell script. It starts src/train.py: try `sweeper init "
                'src/train.py`, or write a sweep file with `command: [bash, run.sh, "${args}"]`'
            ),
        ),
        (
            "run.sh",
            "echo",
            (
                "run.sh: expected a Python script, got a shell script. Write a sweep file with "
                '`command: [bash, run.sh, "${args}"]`'
            ),
        ),
        ("bad.py", "def f(:\n", "bad.py:1: expected Python, got: invalid syntax"),
        (
            "old.py",
            "x = 1\nprint 'a'\n",
            "old.py:2: expected Python, got: Missing parentheses in call to 'print'. Did you mean print(...)?",
        ),
        ("nul.py", "a\0b", "nul.py: expected Python, got: source code string cannot contain null bytes"),
        ("deep.py", "x = " + "-" * 100_000 + "1", "deep.py"),
    ],
)
def test_what_is_no_script_is_refused_with_what_to_do(path: str, text: str | None, said: str) -> None:
    Path("train.py").write_text("")
    if text is not None:
        Path(path).write_text(text)
    with pytest.raises(UsageError) as error:
        arguments_of(Path(path), {})
    assert str(error.value).startswith(said)


def test_a_directory_is_refused_with_the_scripts_in_it() -> None:
    Path("src").mkdir()
    with pytest.raises(UsageError, match="src: expected a script, got a directory; it has no Python file"):
        arguments_of(Path("src"), {})
    Path("src/train.py").write_text("")
    with pytest.raises(UsageError, match=r"src: expected a script, got a directory; it has train\.py"):
        arguments_of(Path("src"), {})


def test_nothing_of_the_script_is_run() -> None:
    Path("beside.py").write_text(
        "open('ran', 'w')\nimport argparse\nargparse.ArgumentParser().add_argument('--a', default=1)"
    )
    Path("train.py").write_text("open('ran', 'w')\nimport beside\n")
    assert names() == ["a"]
    assert not Path("ran").exists()


def test_a_module_that_does_not_parse_is_passed_over() -> None:
    Path("beside.py").write_text("def f(:\n")
    Path("train.py").write_text("import beside, argparse\nargparse.ArgumentParser().add_argument('--a', default=1)")
    assert names() == ["a"]


PARSER = (
    "import argparse\ndef {name}():\n    p = argparse.ArgumentParser()\n    p.add_argument('--{option}', default=1)\n"
)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("from tools import get_args\nget_args()", ["used"]),
        ("import tools\ntools.get_args()", ["used"]),
        ("from tools import get_args as parse\nparse()", ["used"]),
        ("from tools import other\nother(make=lambda: 1)", ["used"]),  # it calls get_args
    ],
)
def test_functions_count_that_the_script_reaches(script: str, found: list[str]) -> None:
    Path("train.py").write_text(script)
    Path("tools.py").write_text(
        f"{PARSER.format(name='get_args', option='used')}{PARSER.format(name='main', option='tool')}"
        "def other(make):\n    return get_args()\nif __name__ == '__main__':\n    main()\n"
    )
    assert names() == found


def test_torch_counts_if_a_module_beside_the_script_imports_it() -> None:
    Path("train.py").write_text("import model\n")
    Path("model.py").write_text("import json\n")
    assert not arguments_of(Path("train.py"), {}).imports_torch
    Path("model.py").write_text("from torch import nn\n")
    assert arguments_of(Path("train.py"), {}).imports_torch


def test_the_script_itself_counts_before_the_modules_beside_it() -> None:
    Path("tools.py").write_text(
        "import click\n@click.command()\n@click.option('--tool', default=1)\ndef main(tool): pass\n"
    )
    Path("train.py").write_text(f"import tools\n{PARSER.format(name='main', option='own')}")
    assert names() == ["own"]
    Path("train.py").write_text("import tools\ntools.main()\n")
    assert names() == ["tool"]
