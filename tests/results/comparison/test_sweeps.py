"""`sweeper compare`: configurations are paired, and no sweep is called better by chance."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.config import SweepSpec
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.record.trial import TrialRecord
from sweeper.results.comparison.sweeps import Side, better_sweep_text, comparison_text, pairs_of
from tests.results.comparison.test_configurations import sweep, view
from tests.views.synthetic import DECISION, Script, make_trial, play

SPEC = SweepSpec.from_json(
    {
        "name": "s",
        "method": "grid",
        "program": "train.py",
        "metric": {"name": "accuracy/test", "goal": "maximize"},
        "parameters": {"lr": {"values": [3e-4, 6e-4]}, "hidden_size": {"value": 64}},
    }
)


def side(letter: str, trials: Sequence[TrialRecord], **changes: object) -> Side:
    spec = SweepSpec.from_json({**SPEC.to_json(), **changes})
    return Side(letter=letter, path=f"runs/{letter}", sweep=view(trials), spec=spec)


def verdict(first: Side, second: Side) -> str:
    return better_sweep_text(first, second, pairs_of(first, second)[0])


FIRST = [[0.70, 0.60, 0.80], [0.50, 0.40, 0.60]]
BETTER = [[0.72, 0.621, 0.823], [0.52, 0.421, 0.623]]
OTHER = [[0.72, 0.55, 0.83], [0.486, 0.47, 0.55]]


def test_the_better_sweep_is_decided_over_paired_seeds() -> None:
    here, there = side("A", sweep(FIRST)), side("B", sweep(BETTER))
    wanted = "by 0.02133 [0.01754, 0.02513], over 2 shared configurations, paired over 3 seeds."
    assert verdict(here, there) == f"B is better than A {wanted}"
    assert verdict(dataclasses.replace(there, letter="A"), dataclasses.replace(here, letter="B")) == (
        f"A is better than B {wanted}"
    )


def test_a_minimized_metric_is_compared_the_other_way_round() -> None:
    here, there = (
        side(letter, [_minimized(trial) for trial in sweep(values)]) for letter, values in (("A", FIRST), ("B", BETTER))
    )
    assert verdict(here, there).startswith("A is better than B by 0.02133")
    text = comparison_text([here, there])
    row = next(line for line in text.splitlines() if line.startswith("lr=1e-4"))
    assert row.split()[2:] == ["0.7", "0.7213", "0.02133", "[0.01754,", "0.02513]", "3", "A"]


def _minimized(trial: TrialRecord) -> TrialRecord:
    return dataclasses.replace(trial, facts=dataclasses.replace(trial.facts, maximize=False))


def test_a_difference_that_is_not_significant_is_reported_as_such() -> None:
    assert verdict(side("A", sweep(FIRST)), side("B", sweep(OTHER))) == (
        "The difference between A and B is not significant at 95%: the gain of B is 0.001 [-0.02421, 0.02621], "
        "over 2 shared configurations, paired over 3 seeds."
    )


def test_with_one_seed_only_the_better_pairs_are_counted() -> None:
    text = verdict(side("A", sweep([[0.7], [0.5], [0.4]])), side("B", sweep([[0.8], [0.6], [0.3]])))
    assert text == (
        "The significance of the difference is unknown over 3 shared configurations, paired over 1 seed: "
        "a confidence interval needs 2 seeds. B is better in 2 of 3 pairs, on average 0.03333 better."
    )


def test_equal_values_are_called_equal() -> None:
    assert "the same values to the last bit, over 2 shared configurations" in verdict(
        side("A", sweep(FIRST)), side("B", sweep(FIRST))
    )


def test_pruned_pairs_are_shown_but_do_not_decide_which_sweep_is_better() -> None:
    ruined = [[0.1, 0.1, 0.1], BETTER[1]]
    here, there = side("A", sweep(FIRST)), side("B", sweep(ruined, {0: "pruned", 2: "pruned", 4: "pruned"}))
    assert "B is better than A by 0.02133 [0.01754, 0.02513], over 1 shared configuration" in verdict(here, there)
    text = comparison_text([here, there])
    assert "B 3 of 3 seeds pruned" in text
    assert "the value of a pruned trial is the one that it had when it was stopped" in text


def test_configurations_are_paired_by_the_parameters_that_either_sweep_varies() -> None:
    here, there = sweep([[0.5, 0.6]]), sweep([[0.5, 0.6], [0.7, 0.8]])
    # The second holds the warmup fixed, and has a constant of its own.
    there = [
        dataclasses.replace(
            trial,
            facts=dataclasses.replace(
                trial.facts, shown={"lr": trial.facts.shown["lr"]}, params={**trial.facts.params, "hidden_size": 128}
            ),
        )
        for trial in there
    ]
    both, only_first, only_second = pairs_of(side("A", here), side("B", there))
    assert (len(both), len(only_first), len(only_second)) == (1, 0, 1)
    assert "only in B: 1 configuration, the best 0.75: lr=3e-4" in comparison_text([side("A", here), side("B", there)])


def test_an_integer_and_an_equal_float_are_the_same_value() -> None:
    here, there = sweep([[0.5]]), sweep([[0.5]])
    here = [
        dataclasses.replace(t, facts=dataclasses.replace(t.facts, params={**t.facts.params, "lr": 1})) for t in here
    ]
    there = [
        dataclasses.replace(t, facts=dataclasses.replace(t.facts, params={**t.facts.params, "lr": 1.0})) for t in there
    ]
    assert len(pairs_of(side("A", here), side("B", there))[0]) == 1


def test_differences_of_sweep_and_provenance_are_named() -> None:
    here = side("A", sweep(FIRST))
    there = side("B", sweep(FIRST), name="t", parameters={"lr": {"values": [3e-4]}, "hidden_size": {"value": 128}})
    here = dataclasses.replace(here, origin={"commit": "a" * 40, "packages": {"torch": "2.12"}})
    there = dataclasses.replace(there, origin={"commit": "b" * 40, "packages": {"torch": "2.13"}})
    text = comparison_text([here, there])
    assert "parameters.hidden_size.values: removed 64" in text
    assert "parameters.lr.values: removed 6e-4" in text
    assert "commit: aaaaaaaaaaaa in A, bbbbbbbbbbbb in B" in text
    assert "torch: 2.12 in A, 2.13 in B" in text
    assert "name:" not in text


def test_other_metrics_are_not_compared() -> None:
    other = side("B", sweep(FIRST), metric={"name": "loss", "goal": "minimize"})
    text = comparison_text([side("A", sweep(FIRST)), other])
    assert "A and B cannot be compared: A has to maximize accuracy/test, B has to minimize loss." in text


def test_sweeps_without_a_shared_or_complete_configuration_cannot_be_compared() -> None:
    text = comparison_text(
        [side("A", sweep(FIRST)), side("B", sweep([])), side("C", sweep([[None, None], [None, None]]))]
    )
    assert "A and B cannot be compared: they have no configuration in common." in text
    assert "A and C cannot be compared: no configuration and seed is complete in both." in text


def test_sweeps_that_differ_only_by_chance_are_rarely_significant() -> None:
    """At 95%, 1 in 20: of 400 comparisons more than 34 have a probability below 1 in 500."""
    noise = random.Random(1)

    def drawn() -> list[list[float]]:
        return [[noise.gauss(0.5, 0.1) for _ in range(4)] for _ in range(3)]

    found = ["is better than" in verdict(side("A", sweep(drawn())), side("B", sweep(drawn()))) for _ in range(400)]
    assert 6 <= sum(found) <= 34


def made(path: Path, decision: Mapping[str, object] | None = None) -> SweepDir:
    run = SweepDir(path)
    run.path.mkdir(parents=True)
    write_json(run.spec, {"format": 1, "name": "s", "spec": SPEC.to_json(), "provenance": {"python": path.name}})
    for number, seed in enumerate((0, 1)):
        params = {"lr": "<b>\x1b[31m", "hidden_size": 64}
        trial = make_trial(run, number, configuration=0, seed=seed, seeds=2, params=params, shown={"lr": params["lr"]})
        play(trial, Script(until=131, stalled=True, outcome="stopped", decision=decision) if decision else Script())
    return run


def test_the_command_reports_what_each_sweep_pruned_and_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two", DECISION)
    assert main(["compare", str(one.path), str(two.path)]) == 0
    said = capsys.readouterr().out
    assert "2 complete; " in said
    assert "2 pruned; " in said
    assert "stopping 2 of 2 trials early saved 1018 steps" in said
    assert "python: one in A, two in B" in said
    assert "\x1b" not in said
    assert main(["compare", str(one.path)]) == 2
    assert "expected 2 to 26 runs, got 1" in capsys.readouterr().err
