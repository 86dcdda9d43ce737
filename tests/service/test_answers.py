"""Real answers to every query have the JSON that the schema promises."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sweeper.cli import main
from sweeper.record.storage.layout import read_json, write_json
from sweeper.service import commands, machine, waiting
from sweeper.service.answers import VERSION, Answer
from sweeper.service.answers.encoding import to_json, to_text
from sweeper.service.answers.machine import Started
from sweeper.service.answers.series import Importance
from sweeper.service.machine import SweepFile
from sweeper.service.open_run import OpenRun
from sweeper.service.schema import answers, schema, schema_of
from sweeper.service.service import Service
from sweeper.service.table import TrialQuery
from tests.service.runs import make_trial, small


def lineage(run: OpenRun) -> Answer:
    facts = read_json(make_trial(run.directory, 9).facts)
    derived = {
        "parent": 0,
        "step": 3,
        "checkpoint": "step-000000003.0123456789abcdef.pt",
        "changes": {"lr": 2},
        "by": "ada",
    }
    write_json(run.directory.trial(9).facts, {**facts, "configuration": -1, "derived": derived})
    found = run.lineage(0)
    assert found is not None
    assert [(one.number, one.derived.step) for one in found.children] == [(9, 3)]
    own = run.lineage(9)
    assert own is not None
    assert (own.known, own.ancestors) == (True, [0])
    assert own.text == "derived from trial 0000 by ada, after step 3, with lr=2 (it was 1)"
    assert run.lineage(1) is None
    return own


QUERIES: dict[str, Callable[[OpenRun], Answer]] = {
    "Sweep": OpenRun.sweep,
    "Status": OpenRun.status,
    "TrialPage": lambda run: run.trials(TrialQuery(sort="value")),
    "Trial": lambda run: run.trial(1),
    "Lineage": lineage,
    "Checkpoints": lambda run: run.checkpoints(0),
    "Receipt": lambda run: run.why(2),
    "TrialComparison": lambda run: run.compare(0, 1),
    "Curves": lambda run: run.curves([0, 2], ["acc", "gradient/reach"]),
    "Depth": lambda run: run.depth(0),
    "SlotTimeline": OpenRun.slots,
    "Front": OpenRun.front,
    "Output": lambda run: run.output(0),
    "Waited": lambda run: waiting.wait(run.directory, "end"),
    "Sent": lambda run: commands.stop(run.directory, [3], by="me", because="enough"),
    "Runs": lambda run: Service(run.directory.path.parent).runs(),
}
MADE = {"Importance", "Started", "Doctor", "Check", "Plan"}
"""Answers that other tests make, because they need more than a record."""


def valid(answer: Answer) -> dict[str, Any]:
    known = json.loads(to_text(answer))
    jsonschema.Draft202012Validator(schema_of(type(answer))).validate(known)
    jsonschema.Draft202012Validator(schema()).validate(known)
    found: dict[str, Any] = known
    return found


def test_the_schema_is_one_and_has_every_answer() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert {one["$ref"] for one in schema()["anyOf"]} == {f"#/$defs/{name}" for name in answers()}
    assert set(answers()) == {*QUERIES, *MADE}


@pytest.mark.parametrize("name", QUERIES)
def test_an_answer_has_the_json_of_its_schema(tmp_path: Path, name: str) -> None:
    answer = QUERIES[name](OpenRun(small(tmp_path)))
    assert type(answer).__name__ == name
    known = valid(answer)
    assert known["version"] == VERSION
    assert known.keys() == schema()["$defs"][name]["properties"].keys()


@pytest.mark.parametrize("name", ["TrialPage", "Sweep", "Status"])
def test_the_schema_refuses_an_answer_with_a_key_of_another_type(tmp_path: Path, name: str) -> None:
    known = to_json(QUERIES[name](OpenRun(small(tmp_path))))
    known["revision"] = "seven"
    with pytest.raises(jsonschema.ValidationError, match="seven"):
        jsonschema.Draft202012Validator(schema_of(answers()[name])).validate(known)


def test_every_key_is_described() -> None:
    lacking = [
        f"{name}.{key}"
        for name, one in schema()["$defs"].items()
        for key, known in one["properties"].items()
        if not known["description"]
    ]
    assert not lacking


def test_the_answers_about_a_sweep_file_and_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import sweeper\nwith sweeper.trial() as trial:\n    trial.params['lr']\n")
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\nmethod: grid\nmetric: {name: acc, goal: maximize}\nprogram: train.py\n"
        "parameters: {lr: {values: [1, 2]}}\n"
    )
    source = SweepFile(file=file, runs=tmp_path / "runs")
    right = valid(machine.check(source))
    assert (right["valid"], right["name"], right["trials"], right["mistakes"]) == (True, "s", 2, [])
    wrong = valid(machine.check(dataclasses.replace(source, overrides=["lr=[]", "nam=1"])))
    assert (wrong["valid"], len(wrong["mistakes"])) == (False, 2)
    assert valid(machine.plan(source))["summary"][0].startswith("s: 2 trials")
    missing = valid(machine.check(SweepFile(file=tmp_path / "none.yaml")))
    assert "none.yaml" in missing["mistakes"][0]["text"]


def test_secrets_are_replaced_and_what_json_lacks_is_null(tmp_path: Path) -> None:
    answer = Importance(shares={"acc": {"lr": float("nan")}}, problem="token=abcdefghijklmnop1234")
    assert to_json(answer)["shares"] == {"acc": {"lr": None}}
    assert "abcdefghijklmnop1234" not in to_text(answer)
    valid(answer)
    valid(Started(run="r", name="s", pid=1, log="l", by="me", because="", text="t"))


def test_the_command_line_prints_the_schema_and_the_same_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small(tmp_path)
    assert main(["schema", "--json-output"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
    assert main(["status", str(run.path), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(schema_of(answers()["Status"])).validate(status)
    assert main(["why", str(run.path), "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == to_json(OpenRun(run).why(1))
