"""`sweeper export`: what other programs read is what the record says."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from pyarrow import parquet

from sweeper.cli import main
from sweeper.config import SweepSpec
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, write_json
from tests.views.synthetic import DECISION, Script, make_trial, play

SPEC = SweepSpec.from_json(
    {
        "name": "s",
        "method": "random",
        "program": "train.py",
        "metric": {"name": "accuracy/test", "goal": "maximize"},
        "parameters": {
            "lr": {"min": 1e-5, "max": 1e-3, "distribution": "log_uniform_values"},
            "warmup_fraction": {"values": [0.1, 0.7]},
            "hidden_size": {"value": 64},
        },
        "run_cap": 4,
    }
)


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    directory = SweepDir(tmp_path / "runs" / "s")
    directory.path.mkdir(parents=True)
    write_json(directory.spec, {"format": 1, "name": "s", "spec": SPEC.to_json()})
    play(make_trial(directory, 0), Script())
    play(make_trial(directory, 1), Script(until=131, stalled=True, outcome="stopped", decision=DECISION))
    play(make_trial(directory, 2), Script(until=20, outcome="failed", exit_code=1))
    make_trial(directory, 3)
    return directory


def test_csv_has_a_row_a_trial_and_a_column_a_parameter(run: SweepDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run.path), "--csv", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["state"] for row in rows] == ["COMPLETE", "PRUNED", "FAIL", "WAITING"]
    assert float(rows[0]["value"]) == pytest.approx(0.3 + 0.5 * 639 / 640)
    assert rows[0]["value_step"] == "639"
    assert (rows[1]["pruned_by"], rows[1]["pruned_at"]) == ("stalled", "130")
    assert rows[1]["reason"] == DECISION["reason"]
    assert rows[2]["cause"] == "error"
    assert {row["params.lr"] for row in rows} == {"0.0006"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1"])
def test_text_that_a_spreadsheet_would_execute_is_text(
    run: SweepDir, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_trial(run, 4, params={"lr": text, f"={text}": 1})
    assert main(["export", str(run.path), "--csv", "-"]) == 0
    cells = next(row for row in csv.reader(io.StringIO(capsys.readouterr().out)) if row[0] == "4")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in cells)


def test_parquet_has_the_same_table_with_kinds(run: SweepDir, tmp_path: Path) -> None:
    make_trial(run, 4, params={"lr": "text"})
    path = tmp_path / "s.parquet"
    assert main(["export", str(run.path), "--parquet", str(path)]) == 0
    table = parquet.read_table(path)
    assert table.num_rows == 5
    kinds = {field.name: str(field.type) for field in table.schema}
    assert (kinds["number"], kinds["value"], kinds["params.lr"]) == ("int64", "double", "string")
    assert kinds["pruned_by"] == "string"


def test_the_study_opens_in_optuna_with_states_values_and_curves(run: SweepDir, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    for _ in range(2):  # the second time it is replaced
        assert main(["export", str(run.path), "--optuna", str(path)]) == 0
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{path}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert study.best_trial.params == {"lr": 6e-4, "warmup_fraction": 0.1}
    assert sorted(study.best_trial.intermediate_values) == [127, 255, 383, 511, 639]
    assert study.best_trial.user_attrs == {"number": 0, "seed": 0}
    assert [entry.name for entry in tmp_path.iterdir() if "study" in entry.name] == ["study.db"]


def test_a_value_from_outside_the_space_widens_it(run: SweepDir, tmp_path: Path) -> None:
    play(make_trial(run, 4, params={"lr": 0.5, "warmup_fraction": "none"}), Script())
    path = tmp_path / "study.db"
    assert main(["export", str(run.path), "--optuna", str(path)]) == 0
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{path}")
    assert study.trials[-1].params == {"lr": 0.5, "warmup_fraction": "none"}


def test_nothing_asked_for_is_a_mistake(run: SweepDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run.path)]) == 2
    assert "--csv FILE, --parquet FILE or --optuna FILE" in capsys.readouterr().err


@pytest.mark.parametrize("year", [2999, 1_031_970])
def test_a_study_takes_moments_beyond_all_calendars(run: SweepDir, tmp_path: Path, year: int) -> None:
    control = run.trial(0).control
    far = (year - 1970) * 31_557_600.0
    events = [replace(event, time=far) for event in read_journal(control)]
    control.unlink()
    with JournalWriter(control) as journal:
        journal.extend(events)
    assert main(["export", str(run.path), "--optuna", str(tmp_path / "s.db")]) == 0
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 's.db'}")
    assert study.n_trials == 3
