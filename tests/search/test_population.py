"""Population-based training: who continues from whom, with which parameters, and when the next turn begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sweeper.config import SweepSpec
from sweeper.record.derivation import POPULATION
from sweeper.search import Configuration, Search, search_for

LR = {"min": 1e-5, "max": 1e-1, "distribution": "log_uniform_values"}


def spec(
    parameters: Mapping[str, object], start_with: Sequence[Mapping[str, object]] = (), **population: object
) -> SweepSpec:
    return SweepSpec.from_json(
        {
            "name": "s",
            "method": "pbt",
            "population_size": 4,
            "population": {"every_steps": 10, "turns": 3, "resample": 0, **population},
            "metric": {"name": "loss", "goal": "minimize"},
            "command": ["a"],
            "parameters": parameters,
            "start_with": list(start_with),
        }
    )


def ended(turn: Sequence[Configuration], values: Sequence[float | None]) -> list[Configuration]:
    """A turn that has ended; None stands for a member that a rule stopped."""
    return [
        replace(one, state="COMPLETE", value=value)
        if value is not None
        else replace(one, state="PRUNED", failed=1.0, why="stopped by diverged")
        for one, value in zip(turn, values, strict=True)
    ]


def two_turns(search: Search, values: Sequence[float | None]) -> tuple[list[Configuration], list[Configuration]]:
    first = ended(list(search.proposals([])), values)
    return first, list(search.proposals(first))


def test_the_first_turn_is_drawn_and_the_next_waits_for_its_end() -> None:
    search = search_for(spec({"lr": LR}))
    first = list(search.proposals([]))
    assert [(one.number, one.until, one.derived) for one in first] == [(n, 10, None) for n in range(4)]
    assert len({str(one.params) for one in first}) == 4
    running = [*ended(first[:3], [1.0, 2.0, 3.0]), first[3]]
    assert list(search.proposals(running)) == []
    assert not search.is_over(running)


def test_the_worst_member_continues_from_the_best_and_explores() -> None:
    first, second = two_turns(search_for(spec({"lr": LR})), [1.0, 2.0, 9.0, 3.0])
    derived = [one.derived for one in second]
    assert [(one.parent, one.by) for one in derived if one] == [(n, POPULATION) for n in (0, 1, 0, 3)]
    assert [one.params == first[n].params for n, one in enumerate(second)] == [True, True, False, True]
    best, new = first[0].params["lr"], second[2].params["lr"]
    assert isinstance(best, float)
    assert new in (pytest.approx(best * 1.2), pytest.approx(best / 1.2))
    assert derived[2] is not None
    assert derived[2].changes == {"lr": new}
    assert [one.until for one in second] == [20] * 4


def test_with_a_score_the_highest_value_is_the_best() -> None:
    given = spec({"lr": LR}).to_json()
    search = search_for(SweepSpec.from_json({**given, "metric": {**given["metric"], "goal": "maximize"}}))
    _, second = two_turns(search, [1.0, 2.0, 9.0, 3.0])
    assert [one.derived.parent for one in second if one.derived] == [2, 1, 2, 3]


def test_flagged_members_are_replaced_before_slow_ones() -> None:
    _, second = two_turns(search_for(spec({"lr": LR})), [1.0, None, 9.0, None])
    parents = [one.derived.parent for one in second if one.derived]
    assert parents == [0, 0, 2, 0]  # the worst that trained is kept, since two others failed
    reasons = [one.derived.reason for one in second if one.derived]
    assert "stopped by diverged" in reasons[1]


def test_if_every_member_failed_each_continues_itself() -> None:
    first, second = two_turns(search_for(spec({"lr": LR})), [None] * 4)
    assert [one.derived.parent for one in second if one.derived] == [0, 1, 2, 3]
    assert [one.params for one in second] == [one.params for one in first]


def test_the_search_is_over_after_the_last_turn() -> None:
    search = search_for(spec({"lr": LR}))
    seen: list[Configuration] = []
    for _ in range(3):
        seen += ended(list(search.proposals(seen)), [1.0, 2.0, 3.0, 4.0])
    assert len(seen) == 12
    assert search.is_over(seen)
    assert search.propose(seen) is None


def test_a_turn_is_the_same_if_it_is_proposed_in_parts_or_again() -> None:
    parameters = {"lr": LR, "width": {"values": [8, 16, 32]}}
    first = ended(list(search_for(spec(parameters, resample=0.5)).proposals([])), [1.0, 2.0, None, 4.0])
    whole = list(search_for(spec(parameters, resample=0.5)).proposals(first))
    parts = list(first)
    for _ in whole:
        proposed = search_for(spec(parameters, resample=0.5)).propose(parts)
        assert proposed is not None
        parts.append(proposed)
    assert parts[4:] == whole


@pytest.mark.parametrize(
    ("parameter", "allowed"),
    [
        ({"min": 1, "max": 3}, {1, 2, 3}),
        ({"min": 0.1, "max": 0.5, "q": 0.1}, {0.1, 0.2, 0.3, 0.4, 0.5}),
        ({"values": [1, 2, 4]}, {1, 2, 4}),
        ({"values": ["adam", "sgd"]}, {"adam", "sgd"}),
        ({"value": 7}, {7}),
    ],
)
def test_explored_values_are_values_of_the_parameter(parameter: dict[str, Any], allowed: set[object]) -> None:
    search = search_for(spec({"x": parameter}, replaced=0.5, turns=9))
    seen: list[Configuration] = []
    for _ in range(9):
        seen += ended(list(search.proposals(seen)), [1.0, 2.0, 3.0, 4.0])
    assert {one.params["x"] for one in seen} <= allowed


@pytest.mark.parametrize("resample", [0, 0.5])
def test_conditional_parameters_follow_the_parameter_on_which_they_depend(resample: float) -> None:
    parameters = {
        "optimizer": {"values": ["adam", "sgd"]},
        "momentum": {"min": 0.1, "max": 0.9, "when": {"optimizer": "sgd"}},
    }
    search = search_for(spec(parameters, replaced=0.5, turns=30, resample=resample))
    seen: list[Configuration] = []
    for turn in range(30):
        seen += ended(list(search.proposals(seen)), [float((member + turn) % 4) for member in range(4)])
    assert all(("momentum" in one.params) == (one.params["optimizer"] == "sgd") for one in seen)
    assert None not in [one.params.get("momentum", 0.1) for one in seen]


def test_known_settings_are_for_the_first_turn_and_no_parameter_is_drawn_anew_from_them() -> None:
    search = search_for(spec({"lr": LR}, [{"lr": 1e-3}], resample=1))
    first, second = two_turns(search, [1.0, 2.0, 9.0, 3.0])
    assert first[0].params == {"lr": 1e-3}
    third = list(search.proposals([*first, *ended(second, [1.0, 2.0, 9.0, 3.0])]))
    plain = search_for(spec({"lr": LR}, resample=1))
    drawn = [one.params["lr"] for one in (second[2], third[2])]
    assert drawn == [turn[2].params["lr"] for turn in _turns(plain)]
    assert 1e-3 not in drawn
    assert len(set(drawn)) == 2


def _turns(search: Search) -> tuple[list[Configuration], list[Configuration]]:
    first, second = two_turns(search, [1.0, 2.0, 9.0, 3.0])
    return second, list(search.proposals([*first, *ended(second, [1.0, 2.0, 9.0, 3.0])]))
