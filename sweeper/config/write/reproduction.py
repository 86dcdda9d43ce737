"""Make a sweep of one recorded trial, as `sweeper reproduce` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.config.model.sweep import LONGEST_NAME, BudgetSettings, EarlyStop, Method, SweepSpec

_HEAD = (
    "# Written by `sweeper reproduce`: one trial as a sweep of its own. `sweeper run` accepts this file unchanged.\n"
)


def sweep_of_trial(
    spec: SweepSpec, *, params: Mapping[str, object], data: Mapping[str, object], seed: int, stopped: bool
) -> SweepSpec:
    """Return a sweep of one trial, which repeats a trial of a recorded sweep.

    Args:
        spec: the recorded sweep.
        params: the parameters of the trial.
        data: the part of `params` that the trainer chose: the dataset and the tokenizer.
        seed: the seed of the trial.
        stopped: whether a rule stopped the trial. If so, the new sweep has the same rules, otherwise none.

    Raises:
        RecordError: the parameters are not valid.
    """
    rules = spec.early_stop if stopped else None
    changes: dict[str, object] = {
        "description": f"reproduction of a trial of {spec.name}",
        "profile": None,
        "profile_description": "",
        "nesting": _by_dots(params) if spec.nesting is None else spec.nesting,
        "method": Method.GRID,
        "population_size": None,
        "population": None,
        "parameters": {name: {"value": value} for name, value in params.items() if name not in data},
        "seeds": [seed],
        "start_with": [],
        "learn_from": [],
        "run_cap": None,
        "budget": BudgetSettings().model_dump(),
        "early_stop": None if rules is None else _without_audit(rules),
        **{key: [value] for key, value in data.items()},
    }
    return SweepSpec.from_json({**spec.to_json(), **changes})


def with_name_suffix(spec: SweepSpec, ending: str) -> SweepSpec:
    """Return the sweep with an ending appended to its name, which is shortened if it would be too long."""
    kept = spec.name.encode()[: LONGEST_NAME - len(ending.encode())].decode(errors="ignore")
    return spec.model_copy(update={"name": f"{kept}{ending}"})


def reproduction_as_file(spec: SweepSpec) -> str:
    """Return the sweep as the text of a sweep file."""
    unwritten = {"nesting", "metric"} if spec.objectives else {"nesting"}  # the metric is then the first objective
    data = spec.model_dump(mode="json", exclude_defaults=True, exclude=unwritten)
    if spec.nesting:
        data["parameters"] = _in_groups(data["parameters"], spec.nesting)
    return _HEAD + json.dumps(data, indent=1) + "\n"


def _by_dots(params: Mapping[str, object]) -> dict[str, list[str]] | None:
    """Return the groups of an early record, in which every dot was that of a group; None if there is no dot."""
    paths = {name: name.split(".") for name in params if "." in name}
    inside = {n: path for n, path in paths.items() if not any(n.startswith(f"{other}.") for other in params)}
    return inside if paths else None


def _in_groups(parameters: Mapping[str, Any], nesting: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the parameters with the groups of a sweep file: `{optimizer: {parameters: {lr: ...}}}`."""
    grouped: dict[str, Any] = {}
    for name, parameter in parameters.items():
        *groups, last = nesting.get(name, (name,))
        inner = grouped
        for group in groups:
            inner = inner.setdefault(group, {"parameters": {}})["parameters"]
        inner[last] = parameter
    return grouped


def _without_audit(rules: EarlyStop) -> dict[str, object]:
    """Return the rules without the audit, whose random assignment could differ, and without repairs of the trial."""
    return {**rules.model_dump(mode="json"), "audit": 0.0, "repair": None}
