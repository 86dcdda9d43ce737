"""Check what ranks the trials of a sweep: one metric or several objectives, constraints, and what works with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sweeper.config.model.sweep import Method
from sweeper.config.read.node import Complaint, Node, found, plain
from sweeper.mistakes import listed, shown
from sweeper.rules.pruner_settings import PRUNERS

FEWEST = 2
GENETIC = (Method.NSGA2, Method.NSGA3)
"""The methods that have a population."""

_EXAMPLE = "write objectives: [{name: loss/val, goal: minimize}, {name: latency_ms, goal: minimize}]"


def complaints_about_objectives(root: Node) -> Iterator[Complaint]:
    """Find what contradicts the objectives and constraints of a sweep."""
    objectives, method = _data(root, "objectives"), _data(root, "method")
    if "objectives" in root.children():
        yield from _objectives(root, objectives)
        yield from _rules(root)
    yield from _distinct("constraints", _data(root, "constraints"))
    if method == Method.CMAES:
        hint = f"write method: {listed([Method.TPE, Method.GP, *GENETIC])}"
        for key, text in (("objectives", "several objectives"), ("constraints", "constraints")):
            if _data(root, key):
                yield Complaint(path=("method",), expected=f"a method for {text}", got=Method.CMAES.value, hint=hint)
                break
    if _data(root, "population_size") is not None and method not in (*GENETIC, Method.PBT):
        expected = f"population_size only with method: {listed([*GENETIC, Method.PBT])}"
        yield Complaint(path=("population_size",), expected=expected, got=f"method: {method}")


def _objectives(root: Node, objectives: object) -> Iterator[Complaint]:
    if "metric" in root.children():
        hint = "the last step with all objectives counts, so at and impute of metric do not apply"
        yield Complaint(path=("metric",), expected="only one of metric and objectives", got="both", hint=hint)
    if isinstance(objectives, list) and len(objectives) < FEWEST:
        got = "one" if objectives else "none"
        hint = f"write metric: {shown_inline(objectives[0])}" if objectives else _EXAMPLE
        yield Complaint(path=("objectives",), expected="at least two objectives", got=got, hint=hint)
    yield from _distinct("objectives", objectives)


def shown_inline(objective: object) -> str:
    """Return an objective as a user would write it on one line."""
    if not isinstance(objective, Mapping):
        return "{name: ..., goal: ...}"
    return "{" + ", ".join(f"{key}: {value}" for key, value in objective.items()) + "}"


def _distinct(key: str, given: object) -> Iterator[Complaint]:
    names = [one.get("name") if isinstance(one, dict) else None for one in given] if isinstance(given, list) else []
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            yield Complaint(path=(key, index, "name"), expected=f"another name in each of {key}", got=shown(name))


def _rules(root: Node) -> Iterator[Complaint]:
    """Find pruners: they compare trials by one metric."""
    rules = _data(root, "early_stop", "rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        name = next(iter(rule), "") if isinstance(rule, dict) else ""
        if name in PRUNERS:
            yield Complaint(
                path=("early_stop", "rules", index),
                expected="no pruner with several objectives, because pruners compare trials by one metric",
                got=name,
                hint="diagnoses need no objective; write early_stop: auto",
            )


def _data(root: Node, *path: str) -> object:
    node = found(root, *path)
    return plain(node) if node else None
