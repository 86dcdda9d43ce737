"""Searches with several objectives and constraints: they learn, and a resumed one proposes the same."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace

import pytest

from sweeper.config import SweepSpec, identity
from sweeper.record.events import Asked
from sweeper.record.storage.codec import decode, encode
from sweeper.search import Configuration, search_for

RANGES = {name: {"min": 0.0, "max": 1.0, "distribution": "uniform"} for name in ("x", "y")}
METHODS = ["random", "tpe", "bayes", "gp", "qmc", "nsga2", "nsga3"]
LEARNING = ["tpe", "gp", "nsga2", "nsga3"]
LIMIT = [{"name": "size", "max": 1.2}, {"name": "x", "min": 0.1, "max": 0.9}]


def spec(method: str, *, bounded: bool = False, name: str = "s") -> SweepSpec:
    population = {"population_size": 4} if method.startswith("nsga") else {}
    return SweepSpec.from_json(
        {
            "name": name,
            "method": method,
            "objectives": [{"name": "loss"}, {"name": "accuracy", "goal": "maximize"}],
            "constraints": LIMIT if bounded else [],
            "command": ["a"],
            "parameters": RANGES,
            **population,
        }
    )


def result(one: Configuration, *, bounded: bool) -> Configuration:
    """The best of both is at y = 0; x trades one for the other. Trials in the upper corner diverge."""
    x, y = (float(str(one.params[name])) for name in ("x", "y"))
    if x > 0.8 and y > 0.5:
        return replace(one, state="FAIL", failed=1.0, why="error")
    values = (x + y, x - y)
    violations = (x + y - 1.2, x - 0.9, 0.1 - x) if bounded else ()
    return replace(one, state="COMPLETE", value=values[0], values=values, violations=violations)


def read_back(seen: list[Configuration]) -> list[Configuration]:
    """The configurations as `search.jsonl` has them."""
    lines = [encode(Asked(configuration=c.number, params=c.params, attributes=c.attributes)) for c in seen]
    asked = [event for line in lines if isinstance(event := decode(line), Asked)]
    return [replace(c, params=event.params, attributes=event.attributes) for c, event in zip(seen, asked, strict=True)]


def swept(
    sweep: SweepSpec, count: int, *, resumed: bool = False, delay: int = 0, bounded: bool = False
) -> list[Configuration]:
    """Run a sweep; results arrive `delay` proposals late. If resumed, each proposal has a new search."""
    search, seen = search_for(sweep), list[Configuration]()
    for number in range(count):
        if resumed:
            seen, search = read_back(seen), search_for(sweep)
        if number == 9:  # a user adds one
            seen.append(Configuration(number=number, params={"x": 0.5, "y": 0.25}))
        else:
            proposed = search.propose(seen)
            assert proposed is not None
            seen.append(proposed)
        if number >= delay:
            seen[number - delay] = result(seen[number - delay], bounded=bounded)
    return seen


@pytest.mark.parametrize("bounded", [False, True], ids=["free", "with constraints"])
@pytest.mark.parametrize("delay", [0, 3], ids=["alone", "with three running"])
@pytest.mark.parametrize("method", METHODS)
def test_a_sweep_interrupted_after_each_ask_is_the_uninterrupted_one(method: str, delay: int, bounded: bool) -> None:
    sweep, count = spec(method, bounded=bounded), 13 if method == "gp" else 26
    resumed, whole = (swept(sweep, count, resumed=r, delay=delay, bounded=bounded) for r in (True, False))
    assert [c.params for c in resumed] == [c.params for c in whole]
    assert [c.attributes for c in resumed] == [c.attributes for c in whole]


FRESH = """
import json, sys
from sweeper.search import Configuration, search_for
from sweeper.config import SweepSpec
for sweep, seen in json.load(sys.stdin):
    proposed = search_for(SweepSpec.from_json(sweep)).propose([Configuration(**one) for one in seen])
    print(json.dumps(proposed.params))
"""


def test_a_fresh_process_proposes_the_same() -> None:
    sweeps = [spec(method, bounded=True) for method in METHODS]
    records = [swept(sweep, 12, delay=2, bounded=True) for sweep in sweeps]
    handed_over = [[s.to_json(), [asdict(c) for c in seen]] for s, seen in zip(sweeps, records, strict=True)]
    command = [sys.executable, "-c", FRESH]
    said = subprocess.run(command, input=json.dumps(handed_over), capture_output=True, text=True, check=True).stdout
    expected = [search_for(s).propose(seen) for s, seen in zip(sweeps, records, strict=True)]
    assert [json.loads(line) for line in said.splitlines()] == [c.params for c in expected if c]


@pytest.mark.parametrize("method", ["nsga2", "nsga3"])
def test_the_generations_are_on_the_record_and_needed(method: str) -> None:
    sweep = spec(method)
    seen = swept(sweep, 24)
    generations = [v for c in seen for k, v in c.attributes.items() if k.endswith(":generation")]
    assert max(generations) >= 3
    assert generations == sorted(generations)
    parents = [k for c in seen for k in c.attributes if ":parent:" in k]
    assert len(parents) == len(set(parents)) == max(generations), "each generation has its parents once"
    search, forgetful = search_for(sweep), [replace(c, attributes={}) for c in seen]
    assert search.propose(seen) != search.propose(forgetful)


@pytest.mark.parametrize("method", ["nsga2", "nsga3"])
def test_a_genetic_algorithm_proposes_nothing_twice(method: str) -> None:
    seen = swept(spec(method), 32)
    assert len({identity(one.params) for one in seen}) == len(seen)


def dominated_area(seen: list[Configuration]) -> float:
    """The area that a front dominates, up to the corner where both objectives are worst: the hypervolume."""
    front, lowest = list[tuple[float, float]](), 1.0
    for loss, accuracy in sorted(one.values for one in seen if one.values and not one.failed):
        if -accuracy < lowest:
            lowest = -accuracy
            front.append((loss, lowest))
    ends = [*(loss for loss, _ in front[1:]), 2.0]
    return sum((end - loss) * (1.0 - height) for (loss, height), end in zip(front, ends, strict=True))


@pytest.mark.parametrize("method", LEARNING)
def test_a_search_moves_to_the_front(method: str) -> None:
    count, names = (18, "s") if method == "gp" else (48, "abc")
    searched = [dominated_area(swept(spec(method, name=name), count)) for name in names]
    drawn = [dominated_area(swept(spec("random", name=name), count)) for name in names]
    assert statistics.fmean(searched) > statistics.fmean(drawn) + 0.05


@pytest.mark.parametrize("method", LEARNING)
def test_a_search_keeps_to_the_constraints(method: str) -> None:
    """The loss is to be small and the size at least 0.5: the search is drawn to where that is missed."""
    sweep = SweepSpec.from_json({**spec(method).to_json(), "constraints": [{"name": "size", "min": 0.9}]})

    def run(*, told: bool) -> int:
        search, seen = search_for(sweep), list[Configuration]()
        for _ in range(18 if method == "gp" else 48):
            proposed = search.propose(seen)
            assert proposed is not None
            x, y = (float(str(proposed.params[name])) for name in ("x", "y"))
            violation = 0.9 - max(x, y)
            violations = (violation if told else -1.0,)
            seen.append(replace(proposed, state="COMPLETE", value=x, values=(x + y, -x), violations=violations))
        late = seen[len(seen) // 2 :]
        return sum(max(float(str(c.params["x"])), float(str(c.params["y"]))) < 0.9 for c in late)

    assert run(told=True) < run(told=False)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unknown", [math.inf, None])
def test_a_search_goes_on_if_no_constraint_has_a_value(method: str, unknown: float | None) -> None:
    sweep = spec(method, bounded=True)
    violations = () if unknown is None else (unknown,) * 3
    seen = [replace(one, violations=violations) for one in swept(sweep, 12)]
    assert search_for(sweep).propose(seen) is not None


def test_a_pruned_trial_counts_as_within_a_bound_if_its_metric_has_no_value() -> None:
    sweep = spec("tpe", bounded=True)
    seen = swept(sweep, 12, bounded=True)
    unknown, kept = (
        [*seen[:-1], replace(seen[-1], state="PRUNED", failed=0.0, value=0.1, values=(0.1, 0.1), violations=given)]
        for given in ((math.inf,) * 3, (0.0,) * 3)
    )
    assert search_for(sweep).propose(unknown) == search_for(sweep).propose(kept)


def test_a_failure_counts_with_the_worst_of_each_objective() -> None:
    sweep = spec("nsga2", bounded=True)
    seen = swept(sweep, 20, bounded=True)
    assert any(one.failed for one in seen)
    valued = [one for one in seen if one.values]
    values = (max(one.values[0] for one in valued), min(one.values[1] for one in valued))
    violations = tuple(max(0.0, *column) for column in zip(*(one.violations for one in valued), strict=True))
    changes: Mapping[str, object] = {"state": "COMPLETE", "failed": 0.0, "value": values[0]}
    as_worst = [
        replace(one, **changes, values=values, violations=violations) if one.failed else one  # type: ignore[arg-type]
        for one in seen
    ]
    assert search_for(sweep).propose(as_worst) == search_for(sweep).propose(seen)
