"""One trial of a sweep as a sweep of its own: what `sweeper reproduce` runs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sweeper.config.model.sweep import LONGEST_NAME, BudgetSettings, EarlyStop, Method, SweepSpec

_HEAD = "# Written by `sweeper reproduce`: one trial as a sweep of its own. `sweeper run` takes it as it is.\n"


def sweep_of_trial(
    spec: SweepSpec, *, params: Mapping[str, object], data: Mapping[str, object], seed: int, stopped: bool
) -> SweepSpec:
    """The sweep whose only trial is one that a sweep has had.

    Args:
        params: what the trial was given; `data` is the part of it that the sweep's trainer chose.
        stopped: a rule ended the trial, and may end it again; otherwise none acts.

    Raises:
        RecordError: the parameters are none.
    """
    rules = spec.early_stop if stopped else None
    changes: dict[str, object] = {
        "description": f"a trial of {spec.name}, again",
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
    """The same sweep, its name with an ending."""
    kept = spec.name.encode()[: LONGEST_NAME - len(ending.encode())].decode(errors="ignore")
    return spec.model_copy(update={"name": f"{kept}{ending}"})


def reproduction_as_file(spec: SweepSpec) -> str:
    """The sweep as a file that `load` reads it from."""
    return _HEAD + json.dumps(spec.model_dump(mode="json", exclude_defaults=True), indent=1) + "\n"


def _without_audit(rules: EarlyStop) -> dict[str, object]:
    """Whether the coin of an audit falls as before is chance: it is not thrown."""
    return {**rules.model_dump(mode="json"), "audit": 0.0}
