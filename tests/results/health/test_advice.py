"""What siblings say about a condemned trial."""

from __future__ import annotations

from pathlib import Path

from sweeper.record.events import Condemned, Event, Exit, Launched, StopRequested
from sweeper.record.fold import Progress, control_of
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import Facts, Trial
from sweeper.results.health.advice import advice
from sweeper.results.markdown import verdict_text
from sweeper.results.receipt import receipt

DECISION = {"rule": "stalled", "step": 90, "reason": "gone", "evidence": {"median": 1e-4}}


def trial(number: int, lr: float, warmup: float, rate: float, *, fate: str) -> Trial:
    shown = {"lr": lr, "warmup_fraction": warmup}
    facts = Facts(
        number=number, configuration=number, seed=0, params=shown, shown=shown, command=[], metric="m", maximize=True
    )
    control: list[Event] = [Launched(attempt=1, slot="a")]
    if fate == "pruned":
        control.append(StopRequested(attempt=1, cause="pruned", decision=DECISION))
    if fate == "spared":
        control.append(Condemned(attempt=1, spared="observed", decision=DECISION))
    outcome = "stopped" if fate == "pruned" else "completed" if fate != "running" else ""
    exits = {} if fate == "running" else {1: Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1)}
    progress = Progress(outcome=outcome, effective_lr=rate)
    directory = TrialDir(Path(f"{number:04d}"))
    return Trial(directory=directory, facts=facts, control=control_of(control), progress=progress, exits=exits)


SWEEP = [
    trial(0, 3e-4, 0.1, 1.2e-3, fate="learned"),
    trial(1, 3e-4, 0.7, 5e-4, fate="learned"),
    trial(2, 8e-4, 0.1, 3.2e-3, fate="pruned"),
    trial(3, 8e-4, 0.7, 1.4e-3, fate="learned"),
    trial(4, 1.2e-3, 0.1, 4.8e-3, fate="pruned"),
    trial(5, 1.2e-3, 0.7, 2e-3, fate="spared"),
    trial(6, 1.2e-3, 0.5, 3e-3, fate="running"),
]


def test_the_border_on_the_scale_of_effective_learning_rates_is_told() -> None:
    assert advice(SWEEP[2], SWEEP)[0] == (
        "by their highest effective lr, 3 of 3 trials at 0.002 or more stalled; 3 of 3 at 0.0014 or less learned"
    )


def test_siblings_that_differ_in_one_parameter_are_told() -> None:
    assert advice(SWEEP[2], SWEEP)[1:] == [
        "lr=8e-4 here; 1 of 1 learned with 3e-4, 0 of 1 learned with 0.0012, all else being equal",
        "warmup_fraction=0.1 here; 1 of 1 learned with 0.7, all else being equal",
    ]


def test_who_was_not_condemned_needs_no_advice() -> None:
    assert advice(SWEEP[0], SWEEP) == []
    assert advice(SWEEP[6], SWEEP) == []


def test_without_siblings_there_is_none() -> None:
    assert advice(SWEEP[2], SWEEP[2:3]) == []


def test_where_stalls_and_learners_are_mixed_no_border_is_told() -> None:
    mixed = [trial(0, 1.0, 0.1, 1e-3, fate="pruned"), *(trial(i, 2.0, 0.2, 1e-3, fate="learned") for i in (1, 2))]
    assert advice(mixed[0], mixed) == []


def test_the_receipt_ends_with_the_advice() -> None:
    text = receipt(SWEEP[5], SWEEP[:5])
    assert "condemned by the rule stalled at step 90\n  and let run on (observed)" in text
    assert text.endswith("its siblings:\n" + "".join(f"  {line}\n" for line in advice(SWEEP[5], SWEEP[:6])))


def test_tensorboard_says_it_of_the_pruned_and_of_who_was_let_run_on() -> None:
    assert str(verdict_text(SWEEP[2])).startswith("Pruned by rule **stalled** at step **90**.")
    spared = str(verdict_text(SWEEP[5]))
    assert spared.startswith("Condemned, and let run on (observed), by rule **stalled** at step **90**.")
    assert "Reason: gone" in spared
    assert verdict_text(SWEEP[0]) is None
