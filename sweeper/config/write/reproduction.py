"""Make a sweep of one recorded trial, as `sweeper reproduce` does."""

from __future__ import annotations

import json
from collections.abc import Mapping

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
        "method": Method.GRID,
        "parameters": {name: {"value": value} for name, value in params.items() if name not in data},
        "seeds": [seed],
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
    return _HEAD + json.dumps(spec.model_dump(mode="json", exclude_defaults=True), indent=1) + "\n"


def _without_audit(rules: EarlyStop) -> dict[str, object]:
    """Return the rules without the audit: its random assignment could differ from the recorded one."""
    return {**rules.model_dump(mode="json"), "audit": 0.0}
