"""The best configuration over seeds: Student's t, the pairing, and that no winner is named by chance."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.record.events import Exit, Finished, Launched, StopRequested
from sweeper.record.facts import Facts
from sweeper.record.progress import Progress, Series
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import HistoryEntry, TrialRecord
from sweeper.record.values.beta import incomplete_beta
from sweeper.results.comparison.configurations import best_configuration_text, configuration_results, has_several_seeds
from sweeper.results.comparison.t_interval import mean_interval, t_quantile
from sweeper.results.ranking import ranking_text
from sweeper.results.snapshot import SweepView
from sweeper.views.terminal.rich_tables import ranking_table


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [  # scipy.stats.t.ppf, scipy 1.17.1; of 1 and 2 degrees also tan(pi (p - 1/2)) and (2p - 1) / sqrt(2p (1 - p))
        (0.975, 1, 12.706204736174694),
        (0.975, 2, 4.302652729749462),
        (0.975, 4, 2.7764451051977934),
        (0.975, 9, 2.2621571627982053),
        (0.975, 30, 2.0422724563012378),
        (0.995, 2, 9.924843200918287),
        (0.95, 3, 2.3533634348018233),
        (0.05, 3, -2.3533634348018233),
        (0.5, 5, 0.0),
    ],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: int, quantile: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(quantile, rel=1e-10, abs=1e-7)


def test_quantiles_of_many_degrees_are_the_normal_distributions() -> None:
    assert t_quantile(0.975, 10**6) == pytest.approx(1.959966, abs=1e-5)
    for probability in (0.6, 0.9, 0.999):
        assert t_quantile(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), rel=1e-10)


def test_incomplete_beta_is_its_own_mirror_image() -> None:
    for x in (0.01, 0.3, 0.5, 0.77, 0.999):
        assert incomplete_beta(x, 2.5, 0.5) == pytest.approx(1 - incomplete_beta(1 - x, 0.5, 2.5), abs=1e-14)
        assert incomplete_beta(x, 1, 1) == pytest.approx(x, abs=1e-14)


@pytest.mark.parametrize("arguments", [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_arguments_out_of_range_are_refused(arguments: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="expected 0 < probability < 1"):
        t_quantile(*arguments)


def test_interval_of_a_mean() -> None:
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))
    assert all(math.isnan(end) for end in mean_interval([1.0]))


def trial(
    number: int, configuration: int, seed: int, value: float | None, *, outcome: str = "", maximize: bool = True
) -> TrialRecord:
    shown = {"lr": [1e-4, 3e-4, 8e-4, 2e-3, 5e-3, 1e-2][configuration % 6], "warmup_fraction": 0.1}
    facts = Facts(
        number=number,
        configuration=configuration,
        seed=seed,
        seeds=3,
        params=shown,
        shown=shown,
        command=[],
        metric="accuracy/test",
        maximize=maximize,
    )
    metrics = {} if value is None else {"accuracy/test": Series.of([(value, 9)])}
    if outcome == "waiting":
        return TrialRecord(directory=TrialDir(Path(f"{number:04d}")), facts=facts)
    control = [
        Launched(attempt=1, slot="a"),
        *([StopRequested(attempt=1, cause="pruned")] if outcome == "pruned" else []),
    ]
    outcome = {"pruned": "stopped", "failed": "failed"}.get(outcome, "completed")
    end = Exit(attempt=1, code=int(outcome == "failed"), signal=None, cause="", peak_memory_mb=1)
    trial = TrialRecord(directory=TrialDir(Path(f"{number:04d}")), facts=facts).after([*control, end])
    trial = trial.with_history([HistoryEntry(1, 1, Finished(outcome=outcome))])
    return replace(trial, progress=Progress(metrics=metrics, step=9))


def sweep(values: Sequence[Sequence[float | None]], outcomes: Mapping[int, str] | None = None) -> list[TrialRecord]:
    """A trial for each configuration and seed, numbered seed by seed as a sweep does; `outcomes` by number."""
    count = len(values)
    cells = [(seed * count + c, c, seed, of[seed]) for c, of in enumerate(values) for seed in range(len(of))]
    return [trial(*cell, outcome=(outcomes or {}).get(cell[0], "")) for cell in sorted(cells)]


def view(trials: Sequence[TrialRecord]) -> SweepView:
    return SweepView(name="s", state="COMPLETE", trials=trials, total=None, slots=(), now=1.0, started=0.0)


SEEDS_SHIFT = [[0.70, 0.60, 0.80], [0.72, 0.621, 0.823]]
"""The seeds scatter by far more than the configurations differ, but the difference is the same with each."""


def test_differences_are_paired_by_seed() -> None:
    order = configuration_results(sweep(SEEDS_SHIFT))
    assert [result.trials[0].facts.configuration for result in order] == [1, 0]
    assert order[0].mean == pytest.approx(0.7213333)
    low, high = order[0].interval
    assert (low, high) == pytest.approx((0.4704, 0.9722), abs=1e-4)
    assert best_configuration_text(order) == (
        "lr=3e-4, warmup_fraction=0.1 is best: better than lr=1e-4, warmup_fraction=0.1 by 0.02133 "
        "[0.01754, 0.02513], paired over 3 seeds."
    )


def test_if_the_difference_is_not_significant_none_is_best_and_more_seeds_are_estimated() -> None:
    # Differences 0.01, 0.03, 0.05: mean 0.03, deviation 0.02; t(0.975, 3) 0.02 / sqrt(4) = 0.0318, t(0.975, 4) ...
    # / sqrt(5) = 0.0248: two more seeds.
    text = best_configuration_text(configuration_results(sweep([[0.70, 0.60, 0.80], [0.71, 0.63, 0.85]])))
    assert text == (
        "The difference between lr=3e-4, warmup_fraction=0.1 and lr=1e-4, warmup_fraction=0.1 is not significant at "
        "95%: 0.03 [-0.01968, 0.07968], paired over 3 seeds. It would take about 2 more seeds (estimate)."
    )


def test_the_best_has_to_beat_every_rival_not_the_second_alone() -> None:
    second = [0.70, 0.60, 0.80]
    best = [value + 0.02 for value in second]
    best[0] += 1e-4
    third = [0.99, 0.40, 0.60]  # worse than the second on average, but with a wide interval
    text = best_configuration_text(configuration_results(sweep([second, third, best])))
    assert "between lr=8e-4, warmup_fraction=0.1 and lr=3e-4, warmup_fraction=0.1 is not significant" in text
    assert best_configuration_text(configuration_results(sweep([second, [0.1, 0.0, 0.2], best]))).endswith(
        "over 3 seeds, and better than every other configuration."
    )


def test_for_a_minimized_metric_the_difference_is_positive_too() -> None:
    trials = [trial(i, i % 2, i // 2, v, maximize=False) for i, v in enumerate([0.2, 0.1, 0.4, 0.31, 0.3, 0.2])]
    assert best_configuration_text(configuration_results(trials)).startswith(
        "lr=3e-4, warmup_fraction=0.1 is best: better than lr=1e-4, warmup_fraction=0.1 by 0.09667 ["
    )


def test_equal_values_and_single_shared_seeds_are_never_significant() -> None:
    assert best_configuration_text(configuration_results(sweep([[0.7, 0.6], [0.7, 0.6]]))).endswith(
        "With this mean difference, no number of seeds would make it significant."
    )
    single = best_configuration_text(configuration_results(sweep([[0.7, None], [0.9, 0.6]])))
    assert single.endswith("cannot be compared: they share 1 seed, and a confidence interval needs 2.")
    close = best_configuration_text(configuration_results(sweep([[0.7, 0.1], [0.1, 0.7001]])))
    assert close.endswith("It would take more than 1000 more seeds (estimate).")
    assert best_configuration_text(configuration_results(sweep([[0.7, 0.1], [None, None]]))) == ""
    assert best_configuration_text([]) == ""


@pytest.mark.parametrize(("configurations", "seeds"), [(2, 2), (2, 3), (2, 5), (4, 3)])
def test_of_equal_configurations_one_is_named_best_no_more_often_than_promised(configurations: int, seeds: int) -> None:
    source = random.Random(seeds)
    named = 0
    for _ in range(600):
        values = [[source.gauss(0, 1) for _ in range(seeds)] for _ in range(configurations)]
        named += "is best" in best_configuration_text(configuration_results(sweep(values)))
    assert named / 600 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_outcomes_of_seeds_are_counted() -> None:
    trials = sweep(
        [[0.7, 0.6, 0.8], [0.3, 0.3, None], [0.2, 0.2, 0.2]],
        {1: "pruned", 4: "pruned", 7: "failed", 8: "waiting"},
    )
    order = configuration_results(trials)
    assert [result.outcome for result in order] == [
        "COMPLETE",
        "2 of 3 seeds pruned, 1 failed",
        "1 of 3 seeds waiting",
    ]
    assert [result.state.value for result in order] == ["COMPLETE", "FAIL", "WAITING"]
    waiting = configuration_results([trial(0, 0, 0, None, outcome="waiting"), trial(1, 0, 1, None, outcome="waiting")])
    assert (waiting[0].mean, waiting[0].outcome) == (None, "2 of 2 seeds waiting")


def rendered(trials: Sequence[TrialRecord], width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(ranking_table(view(trials), width=width))
    return console.export_text().splitlines()


def test_ranking_of_repeats_is_by_configuration_and_fits() -> None:
    trials = sweep([[0.7, 0.6, 0.8], [0.3, 0.3, 0.31], [0.71, 0.63, 0.85]], {1: "pruned", 4: "pruned"})
    text = ranking_text(view(trials)).splitlines()
    assert text[0].split("  ")[0] == "mean best accuracy/test"
    assert text[1].split()[:4] == ["0.73", "[0.4534,", "1.007]", "3"]
    assert "2 of 3 seeds pruned  0001 0004 0007" in text[3]
    assert text[-1].startswith("The difference between lr=8e-4, warmup_fraction=0.1 and lr=1e-4")
    for width in (60, 80, 160):
        lines = rendered(trials, width)
        assert max(len(line) for line in lines) <= width
    lines = rendered(trials, 80)
    assert "[0.4534, 1.007]" in lines[1]
    assert "2 of 3 seeds pruned" in lines[3]


def test_with_one_seed_the_ranking_may_be_chance() -> None:
    trials = sweep([[0.7], [0.6]])
    assert not has_several_seeds(trials)
    line = ranking_text(view(trials)).splitlines()[-1]
    assert line.startswith("With one seed, the ranking may be chance.")
    assert len(line) <= 80
    assert "With one seed" not in ranking_text(view(trials[:1]))
