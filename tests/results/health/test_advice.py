"""Advice on a flagged trial, based on its siblings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sweeper.record.decision import Decision
from sweeper.record.events import Continued, Event, Exit, Finished, Launched, StopRequested
from sweeper.record.facts import Facts
from sweeper.record.progress import Progress
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import HistoryEntry, TrialRecord
from sweeper.results.health.advice import advice
from sweeper.results.receipt import receipt
from sweeper.views.tensorboard.markdown import decision_text

DECISION = {"rule": "stalled", "step": 90, "reason": "gone", "evidence": {"median": 1e-4}}


def trial(number: int, lr: float, warmup: float, rate: float, *, outcome: str) -> TrialRecord:
    shown = {"lr": lr, "warmup_fraction": warmup}
    facts = Facts(
        number=number, configuration=number, seed=0, params=shown, shown=shown, command=[], metric="m", maximize=True
    )
    control: list[Event] = [Launched(attempt=1, slot="a")]
    if outcome == "pruned":
        control.append(StopRequested(attempt=1, cause="pruned", decision=Decision.read(DECISION)))
    if outcome == "spared":
        control.append(Continued(attempt=1, cause="observed", decision=Decision.read(DECISION)))
    outcome = "stopped" if outcome == "pruned" else "completed" if outcome != "running" else ""
    if outcome:
        control.append(Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1))
    history = [HistoryEntry(1, 1, Finished(outcome=outcome))] if outcome else []
    trial = TrialRecord(directory=TrialDir(Path(f"{number:04d}")), facts=facts).after(control).with_history(history)
    return replace(trial, progress=Progress(effective_lr=rate))


SWEEP = [
    trial(0, 3e-4, 0.1, 1.2e-3, outcome="learned"),
    trial(1, 3e-4, 0.7, 5e-4, outcome="learned"),
    trial(2, 8e-4, 0.1, 3.2e-3, outcome="pruned"),
    trial(3, 8e-4, 0.7, 1.4e-3, outcome="learned"),
    trial(4, 1.2e-3, 0.1, 4.8e-3, outcome="pruned"),
    trial(5, 1.2e-3, 0.7, 2e-3, outcome="spared"),
    trial(6, 1.2e-3, 0.5, 3e-3, outcome="running"),
]


def test_the_advice_names_the_border_of_effective_learning_rates() -> None:
    assert advice(SWEEP[2], SWEEP)[0] == (
        "highest effective learning rate: 3 of 3 trials at 0.002 or more stalled; 3 of 3 at 0.0014 or less learned"
    )


def test_siblings_that_differ_in_one_parameter_are_counted() -> None:
    assert advice(SWEEP[2], SWEEP)[1:] == [
        "lr=8e-4 here; 1 of 1 learned with 3e-4, 0 of 1 learned with 0.0012, all else equal",
        "warmup_fraction=0.1 here; 1 of 1 learned with 0.7, all else equal",
    ]


def test_a_trial_that_was_not_flagged_gets_no_advice() -> None:
    assert advice(SWEEP[0], SWEEP) == []
    assert advice(SWEEP[6], SWEEP) == []


def test_without_siblings_there_is_none() -> None:
    assert advice(SWEEP[2], SWEEP[2:3]) == []


def test_if_stalls_and_learners_are_mixed_there_is_no_border() -> None:
    mixed = [trial(0, 1.0, 0.1, 1e-3, outcome="pruned"), *(trial(i, 2.0, 0.2, 1e-3, outcome="learned") for i in (1, 2))]
    assert advice(mixed[0], mixed) == []


def test_the_receipt_ends_with_the_advice() -> None:
    text = receipt(SWEEP[5], SWEEP[:5])
    assert "flagged by the rule stalled at step 90, but continued (observe mode)\n" in text
    assert text.endswith(
        "compared with sibling trials:\n" + "".join(f"  {line}\n" for line in advice(SWEEP[5], SWEEP[:6]))
    )


def test_tensorboard_shows_why_a_trial_was_stopped_or_flagged() -> None:
    assert str(decision_text(SWEEP[2])).startswith("Stopped early by rule **stalled** at step **90**.")
    continued = str(decision_text(SWEEP[5]))
    assert continued.startswith("Flagged by rule **stalled** at step **90**, but continued (observe mode).")
    assert "Reason: gone" in continued
    assert decision_text(SWEEP[0]) is None
