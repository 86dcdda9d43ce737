"""docs/repair.md is what `benchmarks/repair.py` makes from docs/repair.jsonl, and its arithmetic is right."""

from __future__ import annotations

import copy
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from benchmarks.repair import LOG, PAGE, lines_of
from benchmarks.repairs.arithmetic import Paired, Share, cost, extra, is_within, paired
from benchmarks.repairs.known import ARCHIVES, HALVES
from benchmarks.repairs.page import text
from benchmarks.repairs.plan import (
    ADDED,
    DRAWN,
    REPAIR,
    THIRD,
    WAYS,
    ZOO_SEED,
    FailingRun,
    Judge,
    bert_runs,
    in_order,
    zoo_runs,
)


@pytest.fixture(scope="module")
def truth() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    with tarfile.open(ARCHIVES / "zoo.tar.xz") as archive:
        files = {half: archive.extractfile(f"{half}/truth.json") for half in HALVES}
        return {half: json.load(file) for half, file in files.items() if file is not None}


def line(way: str, outcome: str, **keys: Any) -> dict[str, Any]:
    return {
        "part": "zoo",
        "half": "zoo-b",
        "task": "vae",
        "arm": "lr_high",
        "seed": 1,
        "group": DRAWN,
        "by_parameter": True,
        "way": way,
        "plan": 400,
        "first": {"changes": {}, "from": None, "steps": 50, "class": "diverged", "at": 40, "score": 0.1},
        "tries": [{"changes": {"lr": 0.01}, "from": 20, "steps": 379, "class": None, "at": None, "score": 0.5}],
        "outcome": outcome,
        "reason": "",
        "steps": 429,
        "commit": "abc1234",
        **keys,
    }


def test_the_page_is_made_from_the_lines() -> None:
    assert PAGE.read_text("utf-8") == text(lines_of(LOG))


def test_the_page_of_no_lines_says_that_nothing_is_measured() -> None:
    page = text([])
    assert "Measured in all four ways: 0 failing runs" in page
    assert "met |" not in page


def test_a_goal_of_repairs_counts_all_and_one_beside_restarts_those_measured_in_all_ways() -> None:
    saved = [line(way, "learned") for way in WAYS]
    lost = [line(way, "failed", arm="other") for way in WAYS]
    half_measured = [line(REPAIR, "learned", arm="third")]
    page = text([*saved, *half_measured])
    row = next(one for one in page.splitlines() if one.startswith("| failing runs of the zoo"))
    assert row.endswith("| 2 of 2 [16-100%] | met |")
    assert "By repair alone so far: 1." in page
    assert "| all: (a) restart with another seed | 1 |" in page
    row = next(one for one in text([*saved, *lost]).splitlines() if one.startswith("| failing runs of the zoo"))
    assert row.endswith("| 1 of 2 [1-99%] | **missed** |")
    planned = {"part": "plan", "zoo": 3, "BERT": 0, "pbt": 0}
    assert "| 1 of 2 [1-99%] | **missed** so far |" in text([planned, *saved, *lost])


def test_what_was_not_repaired_is_listed_with_why() -> None:
    ended = line(REPAIR, "failed", reason="the sweep has no parameter for the learning rate")
    page = text([ended])
    assert "- vae/lr_high, seed 1: `diverged` at step 40; with lr=0.01 from step 20: ran to its end (failed)" in page
    unnoticed = copy.deepcopy(ended) | {"tries": [], "first": {**ended["first"], "class": None}}
    assert "- vae/lr_high, seed 1: no diagnosis stopped it" in text([unnoticed])


def test_extra_steps_are_those_beyond_one_run_of_the_plan() -> None:
    repaired = line(REPAIR, "learned", steps=500)
    assert cost(repaired) == 1.25
    assert extra(repaired) == 0.25
    assert extra(line(REPAIR, "failed", steps=50)) == 0
    assert is_within(repaired, 0.25)
    assert not is_within(repaired | {"steps": 501}, 0.25)
    assert not is_within(repaired | {"outcome": "between"}, 0.25)


def test_a_share_has_an_exact_interval() -> None:
    assert str(Share(0, 300)) == "0 of 300 [0-1%]"
    assert str(Share(0, 0)) == "-"


def test_only_runs_that_one_way_saved_tell_two_ways_apart() -> None:
    runs = [
        {REPAIR: line(REPAIR, mine), THIRD: line(THIRD, other)}
        for mine, other in [("learned", "failed")] * 6 + [("learned", "learned")] * 9 + [("between", "failed")]
    ]
    found = paired(runs, THIRD)
    assert (found.won, found.lost, found.count) == (6, 0, 16)
    assert found.is_better
    assert not Paired(5, 0, 16).is_better
    assert not Paired(6, 1, 16).is_better
    assert Paired(0, 6, 16).is_worse
    assert not Paired(0, 0, 16).is_better


def test_each_task_has_two_arms_by_chance_and_two_that_fail_by_a_parameter(truth: Mapping[str, Any]) -> None:
    runs = zoo_runs(truth)
    assert len({run.key for run in runs}) == len(runs)
    assert {run.seed for run in runs} == {ZOO_SEED}
    for task in {run.task for run in runs}:
        mine = [run for run in runs if run.task == task]
        assert sum(run.group == DRAWN for run in mine) == 2
        assert all(run.by_parameter for run in mine if run.group == ADDED)
        assert not any(run.group == ADDED for run in mine) or sum(run.by_parameter for run in mine) >= 1
    names = {f"{run.task}/{run.arm}": run for run in runs}
    assert names["deep_mlp/lr_hundredth"].by_parameter
    assert not names["deep_mlp/zero_init"].by_parameter
    assert [run.half for run in runs[:30]] == ["zoo-a", "zoo-b"] * 15


def test_bert_runs_have_odd_seeds_and_stand_between_those_of_the_zoo(truth: Mapping[str, Any]) -> None:
    rows = [{"run": "verdicts", "lr": 8e-4, "warmup_fraction": 0.1, "seed": seed} for seed in range(100, 110)]
    bert = bert_runs(rows)
    assert [run.seed for run in bert] == [101, 103, 105, 107, 109]
    ordered = [*in_order(zoo_runs(truth), bert)]
    assert [index for index, run in enumerate(ordered) if run.part == "BERT"] == [3, 7, 11, 15, 19]


@pytest.fixture
def run(truth: Mapping[str, Any]) -> FailingRun:
    return next(one for one in zoo_runs(truth) if f"{one.task}/{one.arm}" == "vae/lr_high")


def test_restarts_change_the_seed_or_draw_or_divide_the_learning_rate(run: FailingRun) -> None:
    assert run.tried("seed", 1) == (run.params, 1001)
    assert run.tried("third", 2) == ({**run.params, "lr": run.params["lr"] / 9}, 1)
    drawn, seed = run.tried("draw", 1)
    assert run.tried("draw", 1) == (drawn, seed)
    assert run.tried("draw", 2)[0] != drawn
    assert seed == 1
    assert 0.01 <= drawn["lr"] / run.good_lr <= 100
    assert 0 <= drawn["warmup"] <= 0.5


def test_learners_are_told_as_in_the_truth_of_the_zoo(truth: Mapping[str, Any], run: FailingRun) -> None:
    judge = Judge(truth, {})
    reference = judge.references["vae"]
    assert judge.outcome(run, 0.8 * reference) == "learned"
    assert judge.outcome(run, 0.6 * reference) == "between"
    assert judge.outcome(run, 0.4 * reference) == "failed"
    assert judge.outcome(run, None) == "failed"
