"""The spikes of a trial: as text, and as JSON-ready data."""

from __future__ import annotations

import math

from sweeper.record.events import Spiked
from sweeper.record.progress import Progress
from sweeper.results.wording import counted, plain

_DONE = {"skip": "skipped", "record": "recorded only", "rewind": "to be rewound"}


def spike_lines(progress: Progress) -> list[str]:
    """Return a line on the number of spikes, and one for each of the last; empty without spikes."""
    if not progress.spikes:
        return []
    steps = counted(progress.spikes_skipped, "step was", "steps were")
    return [
        f"{counted(progress.spikes, 'spike', 'spikes')} of the loss or the gradient; {steps} skipped because of one",
        *(f"  {spike_text(one)}" for one in progress.newest_spikes),
    ]


def spike_text(spike: Spiked) -> str:
    """Return a spike as text: what was far out, how far, and what was done."""
    done = _DONE.get(spike.action, plain(spike.action))
    if math.isnan(spike.z):
        return f"step {spike.step}: found by {plain(spike.name)}; {done}"
    if math.isinf(spike.z):
        return f"step {spike.step}: {plain(spike.name)} was {spike.value:g}; {done}"
    usual = f"{spike.z:.3g} sigma above its median {spike.centre:.4g}"
    return f"step {spike.step}: {plain(spike.name)} was {spike.value:.4g}, {usual}; {done}"


def spikes_to_json(progress: Progress) -> dict[str, object]:
    """Return the number of spikes and of skipped steps, and the last spikes; what is not finite is null."""
    return {
        "count": progress.spikes,
        "skipped": progress.spikes_skipped,
        "newest": [
            {
                "step": one.step,
                "name": one.name,
                "value": _finite(one.value),
                "centre": _finite(one.centre),
                "scale": _finite(one.scale),
                "z": _finite(one.z),
                "action": one.action,
            }
            for one in progress.newest_spikes
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
