"""Check what `method: pbt` needs, and what does not work with it."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.config.model.population import DEFAULT_SIZE
from sweeper.config.model.repair import OFF
from sweeper.config.model.sweep import Method
from sweeper.config.read.node import Complaint, Node, found, plain
from sweeper.rules import OnSpike
from sweeper.rules.conditions import Spike
from sweeper.rules.pruner_settings import PRUNERS

_EXAMPLE = "write population: {every_steps: 100, turns: 10}"

REFUSED = {
    "objectives": "a population is ranked by one metric",
    "constraints": "a population is ranked by one metric",
    "learn_from": "a population learns from its own turns only",
}


def complaints_about_population(root: Node) -> Iterator[Complaint]:
    """Find what contradicts `method: pbt` or `population`."""
    if _data(root, "method") != Method.PBT:
        if _data(root, "population") is not None:
            got = f"method: {_data(root, 'method')}"
            yield Complaint(path=("population",), expected="population only with method: pbt", got=got)
        return
    if _data(root, "population") is None:
        yield Complaint(path=("method",), expected="population with method: pbt", got="none", hint=_EXAMPLE)
    for key, why in REFUSED.items():
        if _data(root, key):
            yield Complaint(path=(key,), expected=f"no {key} with method: pbt", got=key, hint=why)
    seeds = _data(root, "seeds")
    if isinstance(seeds, list) and len(seeds) > 1:
        hint = "each member of a population is one training run"
        yield Complaint(path=("seeds",), expected="one seed with method: pbt", got=f"{len(seeds)} seeds", hint=hint)
    yield from _start_with(root)
    yield from _stops(root)


def _start_with(root: Node) -> Iterator[Complaint]:
    """Find more known settings than the first turn has members: the other turns continue from it."""
    entries, given = _data(root, "start_with"), _data(root, "population_size")
    size = given if isinstance(given, int) else DEFAULT_SIZE
    if isinstance(entries, list) and len(entries) > size:
        expected, hint = f"at most {size} entries, one for each member", f"or write population_size: {len(entries)}"
        yield Complaint(path=("start_with",), expected=expected, got=str(len(entries)), hint=hint)


def _stops(root: Node) -> Iterator[Complaint]:
    """Find what would stop the worst members, or add trials that do not end with the turns of the members."""
    replaced = "the next turn replaces a member that was stopped"
    repair = _data(root, "early_stop", "repair")
    if repair not in (None, False, OFF):
        path, got = ("early_stop", "repair"), repair if isinstance(repair, str) else "parameters"
        yield Complaint(path=path, expected="no repair with method: pbt", got=got, hint=replaced)
    if _data(root, "on_spike") == OnSpike.REWIND:
        hint = f"{replaced}; write on_spike: skip"
        yield Complaint(path=("on_spike",), expected="no rewind with method: pbt", got=OnSpike.REWIND, hint=hint)
    rules = _data(root, "early_stop", "rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        name = next(iter(rule), "") if isinstance(rule, dict) else rule
        if name in PRUNERS:
            hint = "a population stops its worst members itself"
            expected = "no pruner with method: pbt"
            yield Complaint(path=("early_stop", "rules", index), expected=expected, got=str(name), hint=hint)
        if name == Spike.name:
            expected, hint = "no rule spike with method: pbt", "a trial that it stops is rewound; write on_spike: skip"
            yield Complaint(path=("early_stop", "rules", index), expected=expected, got=str(name), hint=hint)


def _data(root: Node, *path: str) -> object:
    node = found(root, *path)
    return plain(node) if node else None
