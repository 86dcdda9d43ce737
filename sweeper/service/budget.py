"""The budget of a sweep and what was used of it, as answers; pure functions."""

from __future__ import annotations

from sweeper.record.budget import BudgetLimits, Usage
from sweeper.record.trial import TrialRecord
from sweeper.service.answers.sweep import BudgetPart, Sweep


def parts_of(limits: BudgetLimits, usage: Usage, best: TrialRecord | None) -> list[BudgetPart]:
    """Return each part of a budget.

    Args:
        limits: the limits.
        usage: what was used.
        best: the best trial; None without any.
    """
    used = {"trials": float(usage.trials), "hours": usage.hours, "gpu_hours": usage.gpu_hours}
    parts = [_part(name, getattr(limits, name), amount) for name, amount in used.items()]
    value = None if best is None else best.value
    return [*parts, BudgetPart(name="target", limit=limits.target, used=value, spent=usage.reached)]


def holding(sweep: Sweep) -> list[str]:
    """Return the keys of the sweep file that set the limits reached while trials wait, so that no call starts them."""
    if not sweep.unstarted:
        return []
    spent = [part.name for part in sweep.budget if part.spent]
    return [f"metric.{name}" if name == "target" else f"budget.{name}" for name in spent]


def _part(name: str, limit: float | None, used: float) -> BudgetPart:
    return BudgetPart(name=name, limit=limit, used=round(used, 6), spent=limit is not None and used >= limit)
