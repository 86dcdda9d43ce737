"""`sweeper check` and `sweeper schema`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeper.cli import main

EXPERIMENTS = Path(__file__).parents[3] / "experiments"


def test_a_right_file_is_said_to_be_one_with_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    path = EXPERIMENTS / "warmup.yaml"
    assert main(["check", str(path), "--profile", "cpu", "seeds=[0,1]"]) == 0
    assert capsys.readouterr().out == f"{path}: no mistakes, profile cpu; 8 trials (4 arms x 2 seeds)\n"


def test_what_is_read_from_files_and_output_is_named_and_a_metric_that_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "name: a\nmethod: grid\ncommand: [echo]\nmetrics: {acc: {csv: f1}, loss: {output: 'l=(.+)'}}\n"
    read = "sweep.yaml: read from what trials write and print: acc from csv f1, loss from output l=(.+)\n"
    Path("sweep.yaml").write_text(text + "metric: {name: acc}\n")
    assert main(["check", "sweep.yaml"]) == 0
    assert capsys.readouterr().out == f"sweep.yaml: no mistakes; 1 trial (1 arm x 1 seed)\n{read}"
    Path("sweep.yaml").write_text(text + "metric: {name: accu}\n")
    assert main(["check", "sweep.yaml"]) == 0
    missing = "the metric of the sweep, accu, is not under metrics, so the script has to report it itself"
    assert capsys.readouterr().out.endswith(f"{read}sweep.yaml: {missing}; did you mean acc?\n")


def test_a_variable_that_is_not_set_here_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text('name: s\nmethod: grid\nmetric: {name: m}\ncommand: [echo, "${envvar:DATA_PLACE}"]\n')
    refused = "command: ${envvar:DATA_PLACE}: expected the variable DATA_PLACE to be set, got none; `sweeper run` would"
    for command in ("check", "plan"):
        assert main([command, "s.yaml"]) == 0
        assert refused in capsys.readouterr().err
        monkeypatch.setenv("DATA_PLACE", "/data")
        assert main([command, "s.yaml"]) == 0
        assert capsys.readouterr().err == ""
        monkeypatch.delenv("DATA_PLACE")


def test_all_mistakes_of_a_wrong_file_are_said_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text("name: ../..\nmethod: gird\nmetric: {nam: loss}\ncommand: [echo]\n")
    assert main(["check", "sweep.yaml"]) == 2
    said = capsys.readouterr().err
    assert [line.split(": ")[0] for line in said.splitlines()] == ["sweep.yaml:1", "sweep.yaml:2"] + [
        "sweep.yaml:3"
    ] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_the_shipped_schema_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    shipped = EXPERIMENTS / "sweep.schema.json"
    assert json.loads(capsys.readouterr().out) == json.loads(shipped.read_bytes()), f"run: sweeper schema > {shipped}"
