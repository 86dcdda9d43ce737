"""From where interrupted trials will run again: nothing is promised that is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sweeper.config import ResumeArgs
from sweeper.record.derivation import Derivation
from sweeper.record.events import Checkpointed, Event, Exit, Finished, Launched, Metrics, Started, StopRequested
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import State, TrialRecord
from sweeper.results.receipt import receipt
from sweeper.results.restart import restart_text, restarts_text
from tests.record.trials import trial_of

NONE = "it saved no checkpoint through sweeper, so it will start from step 0 unless its script finds one of its own"
RESUME = ResumeArgs(args=("--resume", "${trial:dir}/last.pt"))


def interrupted(folder: Path, number: int, *events: Event, step: bool = True) -> TrialRecord:
    control = [Launched(attempt=1, slot="a"), StopRequested(attempt=1, cause="interrupted")]
    exits = [Exit(attempt=1, code=None, signal=15, cause="killed", peak_memory_mb=1)]
    began = [Started(pid=1, host="h"), *([Metrics(step=7, values={"loss": 1.0})] if step else [])]
    trial = trial_of(control, [*began, *events], exits, number=number)
    directory = TrialDir(folder / f"{number:04d}")
    directory.path.mkdir(parents=True)
    return replace(trial, directory=directory)


def saved(folder: Path, number: int) -> TrialRecord:
    trial = interrupted(folder, number, Checkpointed(step=7, file="a.pt"))
    trial.directory.checkpoints.mkdir()
    (trial.directory.checkpoints / "a.pt").touch()
    return trial


def test_a_checkpoint_is_named_only_while_it_is_there(tmp_path: Path) -> None:
    trial = saved(tmp_path, 0)
    assert restart_text(trial) == "it will resume from the checkpoint of step 7"
    (trial.directory.checkpoints / "a.pt").unlink()  # as keep_parked_gb does
    assert restart_text(trial) == NONE


def test_a_script_that_was_run_by_itself_is_promised_nothing(tmp_path: Path) -> None:
    trial = interrupted(tmp_path, 0, Checkpointed(step=7, file="a.pt"), Finished(outcome="stopped"))
    (attempt,) = trial.attempts
    alone = replace(trial, attempts=(replace(attempt, launched=Launched(attempt=1, slot="alone"), stop=None),))
    assert alone.state is State.WAITING
    why = receipt(alone)
    assert "its script was run by itself, so sweeper does not run it again" in why
    assert "it will" not in why


def test_arguments_to_resume_count_where_their_file_exists(tmp_path: Path) -> None:
    trial = interrupted(tmp_path, 0)
    assert restart_text(trial, RESUME) == NONE
    (trial.directory.path / "last.pt").write_text("x")
    assert restart_text(trial, RESUME) == f"it will resume with --resume {trial.directory.path}/last.pt"
    assert restarts_text([trial], "runs/s", RESUME).endswith(
        "Run the same command to resume: runs/s has the checkpoints."
    )
    assert f"it will resume with --resume {trial.directory.path}/last.pt" in receipt(trial, resume_args=RESUME)


def test_the_end_of_an_interrupted_sweep_names_the_trials_without_checkpoints(tmp_path: Path) -> None:
    head, kept = "Interrupted. Run the same command to resume", ": runs/s has the checkpoints"
    with_one, without = saved(tmp_path, 0), [interrupted(tmp_path, number) for number in range(1, 12)]
    waiting = trial_of(number=50)
    assert restarts_text([with_one, waiting], "runs/s") == f"{head}{kept}."
    assert restarts_text([waiting], "runs/s") == f"{head}."
    assert restarts_text([without[0], waiting], "runs/s") == f"{head}. Trial 0001: {NONE}."
    several = "saved no checkpoints through sweeper, so they will start from step 0 unless their scripts find some of"
    assert (
        restarts_text([with_one, *without[:2]], "runs/s") == f"{head}{kept}. Trials 0001 and 0002 {several} their own."
    )
    many = "Trials 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008 and 3 more"
    assert many in restarts_text(without, "runs/s")


def test_a_trial_that_was_stopped_before_its_first_step_has_lost_nothing(tmp_path: Path) -> None:
    head, trial = "Interrupted. Run the same command to resume", interrupted(tmp_path, 0, step=False)
    assert restart_text(trial) == "it had recorded no step, so it will start from step 0"
    assert "checkpoint" not in receipt(trial)
    assert restarts_text([trial], "runs/s") == f"{head}."
    assert restarts_text([trial, interrupted(tmp_path, 1)], "runs/s") == f"{head}. Trial 0001: {NONE}."
    with_one = f"{head}: runs/s has the checkpoints."
    assert restarts_text([trial, saved(tmp_path, 2)], "runs/s") == with_one
    silent = interrupted(tmp_path, 3, step=False)  # a script that opens no trial may have trained for hours
    (attempt,) = silent.attempts
    assert restart_text(replace(silent, attempts=(replace(attempt, started=None),))) == NONE


def test_a_derived_trial_that_was_stopped_before_its_first_step_resumes_from_its_parents_checkpoint(
    tmp_path: Path,
) -> None:
    trial = interrupted(tmp_path, 1, step=False)
    derived = Derivation(parent=0, step=119, checkpoint="a.pt")
    trial = replace(trial, facts=replace(trial.facts, derived=derived))
    assert restart_text(trial) == "it had recorded no step, so it will start from step 0"
    trial.directory.checkpoints.mkdir()
    (trial.directory.checkpoints / "a.pt").touch()
    assert restart_text(trial) == "it will resume from the checkpoint of step 119"
    assert restarts_text([trial], "runs/s").endswith("to resume: runs/s has the checkpoints.")
