"""Thresholds from recorded learners: the order statistic, the score of a run, and the command."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sweeper import config
from sweeper.cli import main
from sweeper.errors import UsageError
from sweeper.record.events import Event, Finished, Metrics, Observation, Plan, Started, Watching
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.rules.calibration.conformal import (
    THIN,
    Family,
    calibrate,
    conformal_threshold,
    learners_needed,
    rank_of,
    verdict,
)
from tests.views.synthetic import Script, make_trial, play

EVERY, PEAK = 10, 1e-3


def run(
    reach: Sequence[float] | float, *, ratio: Sequence[float] | float = 1e-2, loss: Sequence[float] | float = 1.0
) -> list[Event]:
    """A report and an observation at every tenth step."""
    columns = [[x] * 40 if isinstance(x, float) else list(x) for x in (reach, ratio, loss)]
    events: list[Event] = [Plan(total_steps=400, peak_lr=PEAK)]
    for i, (r, u, value) in enumerate(zip(*columns, strict=False)):
        observation = Observation(step=EVERY * i, row=i, reach=r, update_ratio=u, learning_rate=PEAK)
        events += [Metrics(step=EVERY * i, values={"loss/train": value}), observation]
    return events


# ---- the order statistic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "needed"), [(0.05, 19), (0.1, 9), (0.01, 99), (0.5, 1), (0.3, 3), (0.29, 3), (0.9, 1)]
)
def test_how_many_learners_a_threshold_takes(alpha: float, needed: int) -> None:
    assert learners_needed(alpha) == needed
    assert rank_of(needed, alpha) >= 1
    assert rank_of(needed - 1, alpha) == 0


@pytest.mark.parametrize(
    ("learners", "alpha", "rank"),
    [(18, 0.05, 0), (19, 0.05, 1), (38, 0.05, 1), (39, 0.05, 2), (99, 0.05, 5), (99, 0.29, 29), (99, 0.07, 7)],
)
def test_the_rank_is_that_of_split_conformal_prediction(learners: int, alpha: float, rank: int) -> None:
    assert rank_of(learners, alpha) == rank
    scores = [float(i) for i in range(learners, 0, -1)]
    if rank:
        assert conformal_threshold(scores, alpha) == rank
    else:
        with pytest.raises(ValueError, match="expected at least 19 scores"):
            conformal_threshold(scores, alpha)


@pytest.mark.parametrize("draw", [random.Random.random, lambda r: math.floor(5 * r.random()), lambda r: r.gauss() ** 3])
@pytest.mark.parametrize(("learners", "alpha"), [(19, 0.05), (30, 0.05), (50, 0.2)])
def test_a_new_learner_is_flagged_as_rarely_as_promised(
    draw: Callable[[random.Random], float], learners: int, alpha: float
) -> None:
    """Over 4,000 calibrations, each with one fresh run: at most `alpha`, and four standard deviations."""
    random_numbers, rounds = random.Random(11), 4000
    flagged = 0
    for _ in range(rounds):
        threshold = conformal_threshold([draw(random_numbers) for _ in range(learners)], alpha)
        flagged += draw(random_numbers) < threshold
    assert flagged / rounds <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / rounds)


def test_the_promise_is_no_weaker_than_it_needs_to_be() -> None:
    random_numbers = random.Random(12)
    rounds = 4000
    fresh = ((random_numbers.random(), [random_numbers.random() for _ in range(19)]) for _ in range(rounds))
    assert sum(score < conformal_threshold(scores, 0.05) for score, scores in fresh) / rounds > 0.035


# ---- the score -------------------------------------------------------------------------------------------------------

VALUES = st.lists(st.floats(1e-6, 1e3) | st.sampled_from([0.0, math.nan, 1e-3, 0.5]), max_size=30)


@given(VALUES, st.integers(0, 100), st.integers(1, 4), st.sampled_from([1, 3, 5]), st.sampled_from([1, 20]))
def test_a_threshold_above_the_score_flags_and_the_score_does_not(
    values: list[float], grace: int, patience: int, window: int, every: int
) -> None:
    reach_rule = config.VanishingGradient(grace_steps=grace, patience=patience, window=window, every=every)
    ratio_rule = config.UpdateRatio(
        low=1.0, scheduled=False, grace_steps=grace, patience=patience, window=window, every=every
    )
    for family, history in ((Family(reach_rule), run(values)), (Family(ratio_rule), run(1.0, ratio=values))):
        score = family.score(history)
        if math.isinf(score):
            assert family.flagged_at(history, 1e9) is None
            continue
        assert family.flagged_at(history, math.nextafter(score, math.inf)) is not None
        assert family.flagged_at(history, score) is None


@given(VALUES, VALUES, st.sampled_from(["stalled", "no gain", "of_start", "both", "all", "any"]))
def test_the_rule_fires_above_the_score(reach: list[float], ratio: list[float], kind: str) -> None:
    settings = {
        "stalled": config.Stalled(window=3, grace_steps=20),
        "no gain": config.Stalled(loss="none", window=3, grace_steps=20),
        "of_start": config.UpdateRatio(of_start=0.1, window=3, grace_steps=20),
        "both": config.VanishingGradient(of_start=0.1, window=1, grace_steps=20),
        "all": config.AllOf(
            of=(config.VanishingGradient(window=3), config.UpdateRatio(of_start=0.1, window=1)), patience=2
        ),
        "any": config.AnyOf(of=(config.VanishingGradient(window=3), config.UpdateRatio(of_start=0.1)), grace_steps=20),
    }[kind]
    history = run(reach, ratio=ratio, loss=[1.0 + math.sin(7.0 * i) for i in range(30)])
    family = Family(settings)
    score = family.score(history)
    assume(score > 0)
    assert family.flagged_at(history, (1 - 1e-9) * min(score, 1e9)) is None
    if math.isfinite(score):
        assert family.flagged_at(history, (1 + 1e-9) * score) is not None


def test_the_score_is_the_lowest_median_that_lasts() -> None:
    dip = [0.5] * 20 + [0.01, 0.02, 0.03, 0.04, 0.05] + [0.5] * 15
    assert Family(config.VanishingGradient()).score(run(dip)) == 0.03
    assert Family(config.VanishingGradient(patience=4)).score(run(dip)) == 0.04
    assert Family(config.VanishingGradient(grace_steps=390)).score(run(dip)) == 0.5
    assert Family(config.VanishingGradient(window=1)).score(run(dip)) == 0.01


def test_the_scores_of_a_rule_that_never_fires_and_of_one_that_always_does() -> None:
    assert Family(config.VanishingGradient()).score(run(math.nan)) == math.inf
    always = config.AnyOf(of=(config.VanishingGradient(), config.NonFinite()))
    assert Family(always).score(run(0.5, loss=math.nan)) == 0.0
    assert Family(config.VanishingGradient()).score(run(0.0)) == 0.0


def test_a_falling_loss_prevents_a_flag_for_a_low_gradient() -> None:
    falling = [2.0 - 0.04 * i for i in range(40)]
    assert Family(config.Stalled()).score(run(0.01, loss=falling)) == math.inf
    assert Family(config.Stalled(ratio_of_start=None)).score(run(0.01)) == 0.01


def test_the_diagnosis_is_scored_on_reach_alone() -> None:
    falling = [2.0 - 0.04 * i for i in range(40)]
    watching = Watching(
        layers=("a", "b", "c", "d"),
        tensors=("a", "b", "c", "d"),
        sizes=(1,) * 4,
        layer_of=tuple(range(4)),
        statistics=("grad_norm",),
        every=EVERY,
    )
    family = Family(config.VanishingGradient())
    assert family.score(run(0.01, loss=falling)) == 0.01
    assert family.score([watching, *run(0.01)]) == math.inf  # below_thin counts there, and stays as given
    assert Family(config.VanishingGradient(), THIN).score([watching, *run(0.01)]) == 0.01
    both = config.AllOf(of=(config.VanishingGradient(), config.Stalled(loss="none", ratio_of_start=None)))
    assert Family(both).score(run(0.01, loss=falling)) == 2.0  # times both thresholds, which are 0.005


# ---- the calibration -------------------------------------------------------------------------------------------------


def of_layers(count: int) -> Watching:
    return Watching(
        layers=tuple(map(str, range(count))),
        tensors=tuple(map(str, range(count))),
        sizes=(1,) * count,
        layer_of=tuple(range(count)),
        statistics=("grad_norm",),
        every=EVERY,
    )


@pytest.mark.parametrize(
    ("layers", "rule"),
    [
        ([12], config.VanishingGradient(below=0.04)),
        ([6], config.VanishingGradient(below_thin=0.04)),
        ([12, 6], config.VanishingGradient(below=0.04, below_thin=0.0024)),
    ],
)
def test_the_threshold_that_counts_for_the_recorded_networks_is_calibrated(
    layers: list[int], rule: config.VanishingGradient
) -> None:
    learners = [[of_layers(layers[i % len(layers)]), *run(0.04)] for i in range(19)]
    found = calibrate(config.VanishingGradient(), learners, [], 0.05)
    assert found.rule == rule
    assert found.lost == 0


def test_a_network_of_few_layers_is_flagged_by_its_calibrated_threshold() -> None:
    learners, stall = [[of_layers(6), *run(0.04)]] * 19, [of_layers(6), *run(0.01)]
    found = calibrate(config.VanishingGradient(), learners, [stall], 0.05)
    assert (len(found.before), len(found.caught)) == (0, 1)


def test_the_threshold_is_rounded_down_and_flags_no_more_learners_than_allowed() -> None:
    learners = [run(0.0123456 * (i + 1)) for i in range(39)]
    given = config.VanishingGradient(grace_steps=60)
    found = calibrate(given, learners, [run(0.02), run(1e-4), run(0.4)], 0.05)
    assert (found.rank, found.factor) == (2, 0.0246912)
    assert found.rule == config.VanishingGradient(below=0.0246, grace_steps=60)
    assert (found.lost, found.lost_before) == (1, 0)
    assert (found.caught, found.before) == ((60, 60), (60,))
    text = found.text()
    assert "scores of the 39 learners (below), lowest first: 0.0123 0.0247 0.037 " in text
    assert "... 0.481" in text
    assert "threshold: below 0.0246, which is the score of rank 2 of 39, rounded down" in text
    assert "with this threshold, the rule flags 2 of 3 recorded stalls (at steps 60, 60) and 1 of 39 learners" in text


def test_the_thresholds_of_a_rule_keep_their_ratio() -> None:
    learners = [run(0.05, ratio=[1.0] * 10 + [0.25] * 30)] * 19
    found = calibrate(config.Stalled(below=0.01, ratio_of_start=0.1), learners, [], 0.05)
    assert found.factor == 2.5
    assert found.rule == config.Stalled(below=0.025, ratio_of_start=0.25)
    assert found.lost == 0
    assert "(times below 0.01 and ratio_of_start 0.1)" in found.text()


def test_a_share_stays_below_one() -> None:
    found = calibrate(config.VanishingGradient(), [run(7.0)] * 19, [run(0.9995)], 0.05)
    assert found.rule == config.VanishingGradient(below=0.999)
    assert calibrate(config.UpdateRatio(low=0.5), [run(1.0, ratio=7.0)] * 19, [], 0.05).rule == config.UpdateRatio(
        low=7.0
    )


def test_a_threshold_stays_as_given_if_none_is_too_high() -> None:
    found = calibrate(config.VanishingGradient(), [run(math.nan)] * 19, [], 0.05)
    assert found.rule == config.VanishingGradient()
    assert "threshold: as given, below 0.005" in found.text()
    assert "lowest first: never never" in found.text()


def test_too_few_learners_are_refused_with_the_missing_number() -> None:
    with pytest.raises(UsageError) as error:
        calibrate(config.Stalled(), [run(0.5)] * 12, [], 0.05)
    assert str(error.value) == (
        "expected at least 19 recorded learners for --alpha 0.05, got 12: record 7 more; "
        "12 learners are enough for --alpha 0.077"
    )
    assert rank_of(12, 0.077) == 1


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a rule with a lower threshold"):
        calibrate(config.Plateau(), [run(0.5)] * 19, [], 0.05)
    with pytest.raises(UsageError, match=r"the rule flags 2 of 19 learners, and --alpha 0\.05 allows 0"):
        calibrate(config.VanishingGradient(), [run(0.0)] * 2 + [run(0.5)] * 17, [], 0.05)


@given(st.floats(1e-9, 0.99))
def test_written_thresholds_are_valid_and_no_higher(factor: float) -> None:
    written = Family(config.VanishingGradient()).written(factor)
    assert isinstance(written, config.VanishingGradient)
    assert 0.99 * factor <= written.below <= factor
    config.VanishingGradient.model_validate(written.model_dump())


def test_the_decision_is_that_of_the_rule() -> None:
    assert verdict(config.VanishingGradient(grace_steps=60), run(1e-4)) == 60
    assert verdict(config.VanishingGradient(), run(0.5)) is None


# ---- learners --------------------------------------------------------------------------------------------------------


# ---- the command -----------------------------------------------------------------------------------------------------


def recorded(path: Path, learners: int, stalls: int, *, pruned: int = 0) -> Path:
    """A run of made-up trials; the later the learner, the more of its gradient reaches the first layers."""
    run = SweepDir(path)
    run.path.mkdir(parents=True)
    write_json(run.spec, {})
    for number in range(learners + stalls + pruned):
        trial = make_trial(run, number)
        stalled = number >= learners
        level = 1e-4 if stalled else 0.02 * (number + 1)
        decision = {"rule": "stalled"} if number >= learners + stalls else None
        play(trial, Script(until=0, outcome="", decision=decision))
        with JournalWriter(trial.attempt(1).events) as journal:
            journal.append(Started(pid=1, host="here"))
            for event in (Plan(total_steps=200, peak_lr=PEAK), *_observations(level)):
                journal.append(event)
            for step, value in ((100, 0.3), (200, 0.3 if stalled else 0.8)):
                journal.append(Metrics(step=step, values={"accuracy/test": value}))
            journal.append(Finished(outcome="stopped" if decision else "completed"))
    return path


def _observations(level: float) -> list[Event]:
    return [event for event in run([0.9] * 5 + [level] * 15) if not isinstance(event, Plan)]


def test_the_command_prints_what_to_paste(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = recorded(tmp_path / "a", 12, 2), recorded(tmp_path / "b", 10, 3, pruned=1)
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{vanishing_gradient: {below: 0.001, patience: 2}}, {non_finite: {}}]\n")
    assert main(["calibrate", str(first), str(second), str(first), "--rules", str(rules)]) == 0
    out = capsys.readouterr().out
    assert "22 learners and 5 stalls, of trials that ended by themselves (left out: 1 PRUNED)" in out
    assert "Some trials were stopped early, and whether they would have learned is not known" in out
    assert "\nvanishing_gradient: scores of the 22 learners (below), lowest first: 0.02 0.02 0.04 " in out
    assert "threshold: below 0.02, which is the score of rank 1 of 22, rounded down" in out
    flags = "the rule flags 5 of 5 recorded stalls (at steps 80, 80, 80, 80, 80) and 0 of 22 learners"
    assert f"with this threshold, {flags}" in out
    assert "not after a change of the search space, the model or the data" in out
    assert "each of the 1 calibrated rules by itself" in out
    pasted = tmp_path / "pasted.yaml"
    pasted.write_text(out[out.index("early_stop:") :])
    assert config.rules_from_file(str(pasted)).rules == (
        config.VanishingGradient(below=0.02, patience=2),
        config.NonFinite(),
    )


def test_without_rules_the_preset_is_calibrated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(recorded(tmp_path / "a", 9, 2)), "--alpha", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "9 learners and 2 stalls, of trials that ended by themselves\n" in out
    assert out.endswith("\nearly_stop:\n  rules:\n  - auto\n  - vanishing_gradient: {below: 0.02}\n")


def test_the_former_default_rule_is_calibrated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{stalled: {}}]\n")
    run_of = str(recorded(tmp_path / "a", 9, 2))
    assert main(["calibrate", run_of, "--alpha", "0.1", "--rules", str(rules)]) == 0
    assert "- stalled: {below: 0.02, ratio_of_start: 0.24}" in capsys.readouterr().out


def test_a_trial_without_siblings_cannot_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(recorded(tmp_path / "a", 1, 0))]) == 2
    assert (
        "expected at least 2 trials that ended by themselves, to judge them by each other, got 1"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected at least 19 recorded learners for --alpha 0.05, got 3: record 16 more"),
        (["--rules", "none.yaml"], "none.yaml: expected a rules file, but there is no such file"),
        (["--rules", "plateau.yaml"], "plateau.yaml: expected a rule with a lower threshold"),
        (["--rules", "none"], "none: expected a rule with a lower threshold"),
        (["nowhere"], "nowhere: expected the directory of a run"),
    ],
)
def test_mistakes_are_one_clear_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "a", 3, 1)
    (tmp_path / "plateau.yaml").write_text("rules: [{plateau: {}}]\n")
    assert main(["calibrate", "a", *arguments]) == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("alpha", ["0", "1", "nan", "x"])
def test_alpha_is_a_part(alpha: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "a", "--alpha", alpha])
    assert "--alpha" in capsys.readouterr().err
