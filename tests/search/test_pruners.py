"""Pruners on recorded trials: the decisions equal those of Optuna's own loop; and the one-epoch baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
import pytest

from sweeper import config
from sweeper.config import PrunerSettings
from sweeper.record.progress import Evaluation
from sweeper.search import optuna_pruners, pruners
from sweeper.search.pruners import DEFAULTS, History

EPOCHS = 9


def history(number: int, values: Sequence[float], *, begin: float = 0.0, pace: float = 1.0) -> History:
    """Return a trial with evaluations at steps 9, 19, ... every `pace` seconds after `begin`; it ends with the last."""
    evaluations = [Evaluation(begin + pace * (i + 1), 10 * (i + 1) - 1, value) for i, value in enumerate(values)]
    return History(
        number=number, evaluations=evaluations, last_step=10 * len(values) - 1, ended=begin + pace * len(values)
    )


def curve(level: float) -> list[float]:
    return [level * (1 - 0.6**epoch) for epoch in range(1, EPOCHS + 1)]


COLLAPSE = [0.1, 0.3, 0.5, 0.6, 0.5, 0.4, 0.3, 0.3, 0.3]
ONE_AFTER_ANOTHER = [
    history(i, values, begin=100.0 * i)
    for i, values in enumerate([*map(curve, [0.5, 0.9, 0.3, 0.8, 0.1, 0.7, 0.2, 0.6, 0.95]), COLLAPSE])
]


def by_optuna(settings: PrunerSettings, levels: Sequence[Sequence[float]]) -> dict[int, int | None]:
    """Return what Optuna stops in a loop of its own: one trial after another, evaluations from 1."""
    found: dict[int, int | None] = {}

    def objective(trial: optuna.Trial) -> float:
        values = levels[trial.number]
        found[trial.number] = None
        for epoch, value in enumerate(values, 1):
            trial.report(value, epoch)
            if trial.should_prune() and epoch < len(values):
                found[trial.number] = 10 * epoch - 1
                raise optuna.TrialPruned
        return values[-1]

    study = optuna.create_study(
        study_name=optuna_pruners.STUDY, direction="maximize", pruner=optuna_pruners.build_pruner(settings, EPOCHS)
    )
    study.optimize(objective, n_trials=len(levels))
    return found


OPTUNAS: list[PrunerSettings] = [
    *(settings for settings in DEFAULTS if not isinstance(settings, config.OneEpoch)),
    config.Percentile(percentile=60.0, n_startup_trials=2, n_warmup_steps=3, interval_steps=2),
    config.SuccessiveHalving(reduction_factor=2, min_resource=2, bootstrap_count=2),
    config.Threshold(lower=0.4, n_warmup_steps=4),
    config.Patient(patience=2, min_delta=0.05),
    config.Patient(patience=1, min_delta=0.01, wrapped=config.Percentile(percentile=10.0)),
    config.Wilcoxon(p_threshold=0.2),
]
ALL = [*DEFAULTS, *OPTUNAS]


@pytest.mark.parametrize("settings", OPTUNAS, ids=lambda settings: settings.name)
def test_a_replay_stops_what_optuna_itself_stops(settings: PrunerSettings) -> None:
    levels = [[evaluation.value for evaluation in one.evaluations] for one in ONE_AFTER_ANOTHER]
    expected = by_optuna(settings, levels)
    assert pruners.stop_steps(settings, ONE_AFTER_ANOTHER, maximize=True) == expected
    assert any(step is not None for step in expected.values()), "a case in which no trial is stopped tests nothing"


@pytest.mark.parametrize(
    "settings", [one for one in ALL if not isinstance(one, config.Threshold)], ids=lambda settings: settings.name
)
def test_minimizing_equals_maximizing_the_negative(settings: PrunerSettings) -> None:
    turned = [
        history(one.number, [-e.value for e in one.evaluations], begin=100.0 * one.number) for one in ONE_AFTER_ANOTHER
    ]
    assert pruners.stop_steps(settings, turned, maximize=False) == pruners.stop_steps(
        settings, ONE_AFTER_ANOTHER, maximize=True
    )


class Recorder:
    """A pruner that records its calls, and stops one trial at one evaluation."""

    def __init__(self, stop: tuple[int, int] | None = None) -> None:
        self.told: list[tuple[str, int, float]] = []
        self._stop = stop

    def report(self, number: int, step: int, value: float) -> bool:
        self.told.append(("value", number, value))
        return (number, step) == self._stop

    def end(self, number: int, *, pruned: bool) -> None:
        self.told.append(("pruned" if pruned else "ended", number, math.nan))


def names_told(recorder: Recorder) -> list[tuple[str, int]]:
    return [(what, number) for what, number, _ in recorder.told]


TWO_AT_ONCE = [history(0, [0.1, 0.2, 0.3], pace=2.0), history(1, [0.5, 0.6, 0.7], begin=0.5, pace=2.0)]


def test_values_are_reported_in_the_order_of_their_recorded_times() -> None:
    recorder = Recorder()
    pruners.replay(recorder, TWO_AT_ONCE)
    assert [value for what, _, value in recorder.told if what == "value"] == [0.1, 0.5, 0.2, 0.6, 0.3, 0.7]
    assert names_told(recorder)[-3:] == [("ended", 0), ("value", 1), ("ended", 1)]


def test_a_stopped_trial_reports_nothing_more() -> None:
    recorder = Recorder(stop=(0, 2))
    assert pruners.replay(recorder, TWO_AT_ONCE) == {0: 19, 1: None}
    assert [entry for entry in names_told(recorder) if entry[1] == 0] == [("value", 0), ("value", 0), ("pruned", 0)]


def test_a_stop_at_the_last_step_does_not_count() -> None:
    recorder = Recorder(stop=(1, 3))
    assert pruners.replay(recorder, TWO_AT_ONCE) == {0: None, 1: None}
    assert ("ended", 1) in names_told(recorder)


def test_a_clock_that_was_set_back_keeps_the_order_within_a_trial() -> None:
    evaluations = [Evaluation(10.0, 9, 0.1), Evaluation(5.0, 19, 0.2)]
    recorder = Recorder()
    pruners.replay(recorder, [History(number=0, evaluations=evaluations, last_step=30, ended=6.0)])
    assert [value for what, _, value in recorder.told if what == "value"] == [0.1, 0.2]
    assert names_told(recorder)[-1] == ("ended", 0)


def test_one_epoch_keeps_the_best_fraction_of_the_whole_sweep() -> None:
    firsts = [0.3, 0.9, 0.5, 0.5, math.nan, 0.1, 0.2]
    histories = [history(i, [first, 0.99]) for i, first in enumerate(firsts)]
    assert math.ceil(len(firsts) / 3) == 3
    kept = {number for number, step in pruners.one_epoch(histories, maximize=True).items() if step is None}
    assert kept == {1, 2, 3}
    kept = {number for number, step in pruners.one_epoch(histories, maximize=False).items() if step is None}
    assert kept == {0, 5, 6}


def test_a_trial_without_reports_is_never_stopped() -> None:
    silent = History(number=7, evaluations=(), last_step=100, ended=50.0)
    for settings in ALL:
        assert pruners.stop_steps(settings, [*ONE_AFTER_ANOTHER[:3], silent], maximize=True)[7] is None


def test_a_value_that_is_not_finite_is_no_error() -> None:
    broken = history(3, [math.nan] * EPOCHS, begin=1000.0)
    for settings in ALL:
        assert set(pruners.stop_steps(settings, [*ONE_AFTER_ANOTHER[:3], broken], maximize=True)) == {0, 1, 2, 3}


def test_asynchronous_one_epoch_compares_with_the_values_so_far() -> None:
    """Of k first values the best ceil(k / 3) go on: the first; then only one that beats it, until there are four."""
    firsts = [0.3, 0.9, 0.5, 0.8, math.nan, 0.95, 0.9]
    histories = [history(i, [first, 0.99], begin=10.0 * i) for i, first in enumerate(firsts)]
    stopped = {
        n for n, step in pruners.stop_steps(config.OneEpoch(), histories, maximize=True).items() if step is not None
    }
    assert stopped == {2, 4}


def test_threshold_stops_at_its_limit() -> None:
    found = pruners.stop_steps(config.Threshold(upper=0.5), ONE_AFTER_ANOTHER, maximize=True)
    first_above = {
        one.number: next((e.step for e in one.evaluations[:-1] if e.value > 0.5), None) for one in ONE_AFTER_ANOTHER
    }
    assert found == first_above


def test_rungs_that_are_given_are_the_only_ones() -> None:
    levels = [[level * epoch for epoch in range(1, 13)] for level in (1.0, 0.5, 2.0, 0.1, 1.5, 3.0)]
    histories = [history(i, values, begin=100.0 * i) for i, values in enumerate(levels)]
    settings = config.SuccessiveHalving(rungs=(3, 10), reduction_factor=3)
    stopped = pruners.stop_steps(settings, histories, maximize=True)
    assert stopped == {0: None, 1: 29, 2: None, 3: 29, 4: 29, 5: None}
    late = [[1.0] * 9 + [level] * 3 for level in (3.0, 2.0)]
    histories = [history(i, values, begin=100.0 * i) for i, values in enumerate(late)]
    assert pruners.stop_steps(settings, histories, maximize=True) == {0: None, 1: 99}
    between = [history(0, [1.0] * 12), history(1, [2.0] * 3 + [0.0] * 6 + [2.0] * 3, begin=100.0)]
    assert pruners.stop_steps(settings, between, maximize=True) == {0: None, 1: None}, "only at the rungs"
    worst = [history(0, [1.0] * 12), history(1, [math.nan] * 12, begin=100.0)]
    assert pruners.stop_steps(settings, worst, maximize=False) == {0: None, 1: 29}


def test_rungs_rise() -> None:
    for rungs in ((3, 3), (10, 3), (0, 1), ()):
        with pytest.raises(ValueError, match="rungs"):
            config.SuccessiveHalving(rungs=rungs)
