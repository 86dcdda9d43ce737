"""What a search is told about failures: by which causes, and that it is on the record and the same after a resume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.config import SweepSpec
from sweeper.orchestrator.opening import Run, open_run
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.orchestrator.search.studies import entries_of
from sweeper.record.decision import PERSON, Decision
from sweeper.record.derivation import Derivation
from sweeper.record.events import (
    AUDITED,
    Continued,
    Event,
    Exit,
    Finished,
    Imputed,
    Launched,
    Lost,
    Metrics,
    Started,
    StopRequested,
    Told,
)
from sweeper.record.reader import read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.trial import TrialRecord
from sweeper.search import search_for

LR = {"min": 1e-5, "max": 10.0, "distribution": "log_uniform_values"}
ENDED = Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)


def opened(path: Path, *, method: str = "tpe", seeds: Sequence[int] = (0,), **metric: object) -> Run:
    spec = SweepSpec.from_json(
        {
            "name": "s",
            "method": method,
            "metric": {"name": "loss", **metric},
            "command": ["train", "${args}"],
            "parameters": {"lr": LR},
            "seeds": list(seeds),
            "retry": {"max": 0},
        }
    )
    return open_run(spec, text=b"", runs=path, provenance=dict, say=lambda _: None)


def ended(trial: TrialRecord, *events: Event, values: Sequence[float] = (), exit_: Exit | None = ENDED) -> TrialRecord:
    """Write the record of a trial: the values that it reported, and how it ended."""
    directory, attempt = trial.directory, trial.directory.attempt(1)
    attempt.path.mkdir(parents=True)
    control = [event for event in events if not isinstance(event, Finished)]
    with JournalWriter(directory.control) as journal:
        journal.extend([Launched(attempt=1, slot="cpu 0"), *control])
    reported = [Metrics(step=step, values={"loss": value}) for step, value in enumerate(values)]
    with JournalWriter(attempt.events) as journal:
        journal.extend([Started(pid=1, host="here"), *reported, *(e for e in events if isinstance(e, Finished))])
    if exit_ is not None:
        attempt.exit.write_bytes(encode(exit_))
    return read_trial(directory)


def stopped(rule: str) -> StopRequested:
    return StopRequested(attempt=1, cause="pruned", decision=decided(rule))


def decided(rule: str) -> Decision:
    return Decision(rule=rule, step=1, reason="because", evidence={"value": 1})


def failed(cause: str = "") -> Finished:
    return Finished(outcome="failed", error="ValueError", cause=cause)


COMPLETED = Finished(outcome="completed")
BY_SIGNAL = Exit(attempt=1, code=None, signal=9, cause="killed", peak_memory_mb=1.0)
OOM = Exit(attempt=1, code=None, signal=9, cause="oom", peak_memory_mb=1.0)
BAD = Exit(attempt=1, code=1, signal=None, cause="error", peak_memory_mb=1.0)
ABSENT = Exit(attempt=1, code=127, signal=None, cause="not-found", peak_memory_mb=1.0)
NAN = math.nan


def told(run: Run) -> list[Told]:
    return [event for event in read_journal(run.directory.search) if isinstance(event, Told)]


@pytest.mark.parametrize(
    ("events", "values", "exit_", "why"),
    [
        ((failed(),), [0.5], BAD, "error"),
        ((failed("cuda-oom"),), [], BAD, "cuda-oom"),
        ((), [0.5], OOM, "oom"),
        ((stopped("diverged"), Finished(outcome="stopped")), [0.5], ENDED, "stopped by diverged"),
        ((stopped("stalled"), Finished(outcome="stopped")), [0.5], ENDED, "stopped by stalled"),
        ((Continued(attempt=1, cause=AUDITED, decision=decided("stuck"), value=0.4), COMPLETED), [0.5], ENDED, "stuck"),
        ((COMPLETED,), [NAN, math.inf], ENDED, "no finite value of loss"),
        ((COMPLETED,), [], ENDED, "no finite value of loss"),
        ((), [NAN], BY_SIGNAL, "no finite value of loss"),
        ((COMPLETED,), [0.5, NAN], ENDED, ""),
        ((), [0.5], BY_SIGNAL, ""),
        ((), [], BY_SIGNAL, ""),
        ((Lost(attempt=1),), [], None, ""),
        ((), [], ABSENT, ""),
        ((stopped("median"), Finished(outcome="stopped")), [0.5], ENDED, ""),
        ((stopped("overfitting"), Finished(outcome="stopped")), [0.5], ENDED, ""),
        ((stopped(PERSON), Finished(outcome="stopped")), [NAN], ENDED, ""),
    ],
)
def test_only_what_the_parameters_explain_is_a_failure_for_the_search(
    tmp_path: Path, events: Sequence[Event], values: Sequence[float], exit_: Exit | None, why: str
) -> None:
    run = opened(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    good, other = proposals.further(2)
    proposals.update([ended(good, COMPLETED, values=[0.25]), ended(other, *events, values=values, exit_=exit_)])
    one = told(run)[1]
    assert why in one.why
    assert bool(one.why) == bool(why)
    assert one.imputed == (0.25 if why else None)


def test_a_user_can_switch_it_off_and_choose_the_trials_own_value(tmp_path: Path) -> None:
    for impute, value, imputed in [("off", 0.5, None), ("best", 0.5, None), ("latest", 0.75, None), ("worst", None, 2)]:
        run = opened(tmp_path / impute, impute=impute)
        proposals = Proposals(run, search_for(run.spec))
        good, other = proposals.further(2)
        proposals.update([ended(good, COMPLETED, values=[2.0])])
        proposals.update([ended(other, failed(), values=[0.5, 0.75], exit_=BAD)])
        assert (told(run)[1].value, told(run)[1].imputed) == (value, imputed)


def test_seeds_that_failed_count_beside_those_that_did_not(tmp_path: Path) -> None:
    run = opened(tmp_path, seeds=(0, 1), goal="maximize")
    proposals = Proposals(run, search_for(run.spec))
    first, second, third, fourth = sorted(proposals.further(2), key=lambda trial: trial.facts.configuration)
    proposals.update([ended(first, COMPLETED, values=[0.2]), ended(second, COMPLETED, values=[0.4])])
    proposals.update([ended(third, COMPLETED, values=[0.9]), ended(fourth, failed(), exit_=BAD)])
    assert [one.value for one in told(run)] == pytest.approx([0.3, 0.9])
    assert [one.imputed for one in told(run)] == [None, pytest.approx(0.6)]


def test_what_failures_count_with_is_on_the_record_each_time_it_changes(tmp_path: Path) -> None:
    run = opened(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    proposals.update([ended(proposals.further(1)[0], failed(), exit_=BAD)])
    assert told(run)[0].imputed is None, "nothing has a finite value yet"
    for value in (1.0, 0.5, 3.0):
        proposals.update([ended(proposals.further(1)[0], COMPLETED, values=[value])])
    proposals.further(1)
    kinds = [event for event in read_journal(run.directory.search) if not isinstance(event, Told)]
    assert [event.value if isinstance(event, Imputed) else "asked" for event in kinds] == [
        *("asked", "asked", 1.0, "asked", "asked", 3.0, "asked")
    ]


@pytest.mark.parametrize("method", ["tpe", "cmaes"])
def test_a_resumed_run_proposes_after_failures_what_an_uninterrupted_one_does(tmp_path: Path, method: str) -> None:
    recorded: dict[str, list[Event]] = {}
    for kind in ("whole", "resumed"):
        run = opened(tmp_path / kind, method=method)
        proposals, trials = Proposals(run, search_for(run.spec)), list[TrialRecord]()
        for _ in range(16):
            if kind == "resumed":
                proposals = Proposals(run, search_for(run.spec))
                proposals.initial(trials, range(len(trials)))
                proposals.update(trials)
            trial = proposals.further(1)[0]
            lr = float(str(trial.facts.params["lr"]))
            good = [COMPLETED] if lr < 1e-2 else [failed()]
            trials.append(ended(trial, *good, values=[abs(math.log10(lr) + 3)] if lr < 1e-2 else []))
            proposals.update([trials[-1]])
        recorded[kind] = [replace(event, time=0.0) for event in read_journal(run.directory.search)]
    assert any(isinstance(event, Told) and event.imputed is not None for event in recorded["whole"])
    assert recorded["whole"] == recorded["resumed"]


def test_a_result_that_changes_after_a_retry_is_told_again(tmp_path: Path) -> None:
    run = opened(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    trial = proposals.further(1)[0]
    proposals.update([ended(trial, failed(), exit_=BAD)])
    attempt = trial.directory.attempt(2)
    attempt.path.mkdir(parents=True)
    with JournalWriter(trial.directory.control) as journal:
        journal.extend([Launched(attempt=2, slot="cpu 0")])
    with JournalWriter(attempt.events) as journal:
        journal.extend([Started(pid=1, host="here", attempt=2), Metrics(step=0, values={"loss": 0.5}), COMPLETED])
    attempt.exit.write_bytes(encode(Exit(attempt=2, code=0, signal=None, cause="", peak_memory_mb=1.0)))
    for _ in range(2):
        proposals.update([read_trial(trial.directory)])
    assert [(one.state, one.value, one.why) for one in told(run)] == [("FAIL", None, "error"), ("COMPLETE", 0.5, "")]


# ---- several objectives and constraints

SEVERAL = [{"name": "loss"}, {"name": "accuracy", "goal": "maximize"}]
BOUNDS = [{"name": "memory", "max": 16}, {"name": "accuracy", "min": 0.5}]


def opened_with_objectives(path: Path, **changes: object) -> Run:
    known = {"name": "s", "method": "nsga2", "population_size": 2, "objectives": SEVERAL, "constraints": BOUNDS}
    known |= {"command": ["train"], "parameters": {"lr": LR}, "retry": {"max": 0}}
    spec = SweepSpec.from_json({**known, **changes})
    return open_run(spec, text=b"", runs=path, provenance=dict, say=lambda _: None)


def ended_with(trial: TrialRecord, *events: Event, values: Mapping[str, float]) -> TrialRecord:
    """Write the record of a trial that reported these values once, and then ended."""
    ended(trial, *events)
    attempt = trial.directory.attempt(1)
    with JournalWriter(attempt.events) as journal:
        journal.extend([Metrics(step=0, values=values), *(e for e in events if isinstance(e, Finished))])
    return read_trial(trial.directory)


def test_the_values_of_each_objective_and_the_violations_are_on_the_record(tmp_path: Path) -> None:
    run = opened_with_objectives(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    good, beyond, failure = proposals.further(3)
    proposals.update([ended_with(good, COMPLETED, values={"loss": 0.5, "accuracy": 0.8, "memory": 10})])
    proposals.update([ended_with(beyond, COMPLETED, values={"loss": 0.1, "accuracy": 0.25, "memory": 20})])
    proposals.update([ended_with(failure, failed(), values={"loss": 0.9, "accuracy": 0.9, "memory": 1})])
    one, other, third = told(run)
    assert (one.value, one.values) == (0.5, {"loss": 0.5, "accuracy": 0.8})
    assert list(one.violations) == pytest.approx([-6.0, -0.3])
    assert list(other.violations) == [4.0, 0.25]
    assert (third.value, third.values, third.why) == (None, {}, "error")
    assert (third.imputed, third.imputed_values) == (0.5, {"loss": 0.5, "accuracy": 0.25})
    proposals.further(1)
    [imputed] = [event for event in read_journal(run.directory.search) if isinstance(event, Imputed)]
    assert (imputed.value, imputed.values) == (0.5, {"loss": 0.5, "accuracy": 0.25})
    assert list(imputed.violations) == [4.0, 0.25]
    Proposals(run, search_for(run.spec)).further(0)
    assert len([event for event in read_journal(run.directory.search) if isinstance(event, Imputed)]) == 1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"loss": 0.5, "memory": 1}, "no finite value of accuracy"),
        ({"loss": 0.5, "accuracy": 0.8}, "no finite value of memory"),
        ({"loss": NAN, "accuracy": 0.8, "memory": 1}, "no finite value of loss"),
        ({"other": 1}, "no finite value of loss and accuracy and memory"),
        ({"loss": 0.5, "accuracy": 0.8, "memory": 1}, ""),
    ],
)
def test_an_objective_or_constraint_without_a_value_is_a_failure_that_names_it(
    tmp_path: Path, values: Mapping[str, float], why: str
) -> None:
    run = opened_with_objectives(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    proposals.update([ended_with(proposals.further(1)[0], COMPLETED, values=values)])
    assert [event.why for event in told(run)] == [why]


STOPPED = Finished(outcome="stopped")


@pytest.mark.parametrize(
    ("events", "values", "why"),
    [
        ((), {"loss": 0.5}, ""),
        ((), {"loss": 0.5, "accuracy": 0.8}, ""),
        ((), {"loss": 0.5, "accuracy": NAN}, "no finite value of accuracy"),
        ((stopped("overfitting"), STOPPED), {"loss": 0.5}, ""),
        ((stopped("overfitting"), STOPPED), {"loss": 0.5, "accuracy": 0.8}, ""),
        ((stopped("overfitting"), STOPPED), {"loss": 0.5, "memory": NAN}, "no finite value of memory"),
        ((stopped(PERSON), STOPPED), {"loss": 0.5}, ""),
    ],
)
def test_what_a_trial_could_not_report_before_it_was_ended_is_no_failure(
    tmp_path: Path, events: Sequence[Event], values: Mapping[str, float], why: str
) -> None:
    run = opened_with_objectives(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    trial = ended_with(proposals.further(1)[0], *events, values=values)
    if not events:
        trial.directory.attempt(1).exit.write_bytes(encode(BY_SIGNAL))
        trial = read_trial(trial.directory)
    proposals.update([trial])
    assert [event.why for event in told(run)] == [why]


def test_a_pruned_trial_counts_with_its_value_although_a_metric_with_bounds_is_not_reported(tmp_path: Path) -> None:
    keys: dict[str, object] = {"method": "tpe", "objectives": [], "metric": {"name": "loss"}, "population_size": None}
    run = opened_with_objectives(tmp_path, **keys)
    proposals = Proposals(run, search_for(run.spec))
    trial = ended_with(proposals.further(1)[0], stopped("median"), STOPPED, values={"loss": 0.5})
    proposals.update([trial])
    [event] = told(run)
    assert (event.state, event.value, event.why) == ("PRUNED", 0.5, "")


def test_seeds_count_with_their_means_and_the_worst_violation(tmp_path: Path) -> None:
    run = opened_with_objectives(tmp_path, seeds=[0, 1])
    proposals = Proposals(run, search_for(run.spec))
    first, second = proposals.further(1)
    values = [{"loss": 0.4, "accuracy": 0.8, "memory": 10}, {"loss": 0.2, "accuracy": 0.6, "memory": 18}]
    pairs = zip((first, second), values, strict=True)
    proposals.update([ended_with(trial, COMPLETED, values=reported) for trial, reported in pairs])
    [event] = told(run)
    assert event.values == pytest.approx({"loss": 0.3, "accuracy": 0.7})
    assert list(event.violations) == pytest.approx([2.0, -0.1])


def test_an_audited_trial_counts_with_its_values_when_it_was_flagged(tmp_path: Path) -> None:
    run = opened_with_objectives(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    then = {"loss": 0.9, "accuracy": 0.55, "memory": 20.0}
    flagged = Continued(attempt=1, cause=AUDITED, decision=decided("overfitting"), value=0.9, values=then)
    trial = ended_with(proposals.further(1)[0], flagged, COMPLETED, values={"loss": 0.1, "accuracy": 0.9, "memory": 2})
    proposals.update([trial])
    [event] = told(run)
    assert (event.state, event.values) == ("PRUNED", {"loss": 0.9, "accuracy": 0.55})
    assert list(event.violations) == pytest.approx([4.0, -0.05])


def test_results_from_before_objectives_are_read(tmp_path: Path) -> None:
    lines = [
        b'{"event":"Told","time":1.0,"configuration":0,"state":"FAIL","value":null,"step":3,"imputed":2.5,"why":"oom"}',
        b'{"event":"Imputed","time":1.0,"value":2.5}',
    ]
    (tmp_path / "search.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    first, second = read_journal(tmp_path / "search.jsonl")
    assert first == Told(time=1.0, configuration=0, state="FAIL", value=None, step=3, imputed=2.5, why="oom")
    assert second == Imputed(time=1.0, value=2.5)


def test_what_a_search_was_told_of_a_trial_stands_after_it_was_damaged(tmp_path: Path) -> None:
    run = opened(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    first, second = proposals.further(2)
    proposals.update([ended(first, COMPLETED, values=[0.5])])
    before = told(run)
    for trial in (first, ended(second, COMPLETED, values=[0.25])):
        events = trial.directory.attempt(1).events
        events.write_bytes(events.read_bytes().replace(b'"step":0', b'"step":1'))
    again = Proposals(run, search_for(run.spec))
    damaged = [read_trial(trial.directory) for trial in (first, second)]
    assert [trial.value for trial in damaged] == [None, None]
    again.initial(damaged, [0, 1])
    again.update(damaged)
    assert told(run) == before, "neither without a value, nor as one that failed by its parameters"


def test_what_a_search_was_told_of_several_objectives_stands_after_a_trial_was_damaged(tmp_path: Path) -> None:
    run = opened_with_objectives(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    first, second, third = proposals.further(3)
    proposals.update([ended_with(first, COMPLETED, values={"loss": 0.5, "accuracy": 0.8, "memory": 20})])
    proposals.update([ended_with(second, COMPLETED, values={"loss": 0.4, "accuracy": 0.9, "memory": 10})])
    events = first.directory.attempt(1).events
    events.write_bytes(events.read_bytes().replace(b'"step":0', b'"step":1'))
    again = Proposals(run, search_for(run.spec))
    damaged = [read_trial(trial.directory) for trial in (first, second)]
    assert damaged[0].altered
    again.initial([*damaged, third], [0, 1, 2])
    again.update(damaged)
    again.update([ended_with(third, failed(), values={"loss": 0.9})])
    assert told(run)[-1].imputed_values == {"loss": 0.5, "accuracy": 0.8}
    again.further(1)
    [imputed] = [event for event in read_journal(run.directory.search) if isinstance(event, Imputed)]
    assert list(imputed.violations) == [4.0, 0.0]


def test_a_configuration_with_a_damaged_line_is_taken_from_its_trial(tmp_path: Path) -> None:
    run = opened(tmp_path)
    trials = Proposals(run, search_for(run.spec)).further(3)
    lines = run.directory.search.read_bytes().splitlines(keepends=True)
    run.directory.search.write_bytes(b"".join([lines[0], lines[1].replace(b'"Asked"', b'"Taken"'), *lines[2:]]))
    again = Proposals(run, search_for(run.spec))
    assert [one.line for one in again.damage] == [2]
    assert again.initial(trials, [0, 1, 2]) == []
    further = again.further(1)
    assert [trial.facts.configuration for trial in further] == [3]


def derivation(**given: object) -> Derivation:
    return Derivation(parent=0, changes={"lr": 0.5}, **given)  # type: ignore[arg-type]  # as the caller has them


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_the_search_is_told_of_the_original_what_it_would_have_been_told(tmp_path: Path, method: str) -> None:
    """With and without a derived trial: the same events, and the same proposals, also after a restart."""
    found = []
    for name, derives in (("without", False), ("with", True)):
        (tmp_path / name).mkdir()
        run = opened(tmp_path / name, method=method)
        proposals = Proposals(run, search_for(run.spec))
        first, second = proposals.further(2)
        if derives:
            (derived,) = proposals.derive(first, derivation())
            assert (derived.facts.number, derived.facts.configuration, derived.facts.params) == (2, -2, {"lr": 0.5})
            assert derived.facts.seed == first.facts.seed
            proposals.update([derived, ended(derived, COMPLETED, values=[0.0])])
        proposals.update([ended(first, failed(), exit_=BAD), ended(second, COMPLETED, values=[0.5])])
        again = Proposals(run, search_for(run.spec))
        known = [read_trial(one) for one in run.directory.trials()]
        made = again.initial(known, {trial.facts.number for trial in known})
        again.update(known)
        more = again.further(2)
        assert made == []
        assert [trial.facts.number for trial in more] == ([3, 4] if derives else [2, 3])
        events = [replace(event, time=0.0) for event in read_journal(run.directory.search)]
        found.append(([trial.facts.params for trial in more], [e for e in events if isinstance(e, Told | Imputed)]))
        run.lease.release()
    assert found[0] == found[1]


def test_run_cap_counts_what_the_search_proposes(tmp_path: Path) -> None:
    run = opened(tmp_path)
    capped = replace(run, spec=run.spec.model_copy(update={"run_cap": 2}))
    proposals = Proposals(capped, search_for(run.spec))
    (first,) = proposals.further(1)
    proposals.derive(first, derivation())
    assert len(proposals.further(5)) == 1


def test_run_cap_allows_whole_configurations(tmp_path: Path) -> None:
    run = opened(tmp_path, seeds=(0, 1, 2), method="random")
    capped = replace(run, spec=run.spec.model_copy(update={"run_cap": 10}))
    assert len(Proposals(capped, search_for(run.spec)).further(99)) == capped.spec.most_trials == 12


def test_the_importance_of_parameters_leaves_derived_trials_out(tmp_path: Path) -> None:
    run = opened(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    (first,) = proposals.further(1)
    (derived,) = proposals.derive(first, derivation())
    entries = entries_of([(first, []), (derived, [])])
    assert [entry.attributes["number"] for entry in entries] == [0]


def test_a_trial_whose_checkpoint_is_gone_begins_at_the_start(tmp_path: Path) -> None:
    run = opened(tmp_path)
    proposals = Proposals(run, search_for(run.spec))
    (first,) = proposals.further(1)
    file = "step-000000005.3fa94c01d2e7b655.pt"
    (derived,) = proposals.derive(first, derivation(step=5, checkpoint=file, lr_factor=0.5, fresh_optimizer=True))
    assert read_trial(derived.directory).facts.derived == derivation()
