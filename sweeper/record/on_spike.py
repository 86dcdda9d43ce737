"""What the sweep wants done about a step with a spike: the key `on_spike` of the sweep file."""

from __future__ import annotations

from enum import StrEnum


class OnSpike(StrEnum):
    """What happens at a spike: a step with a training loss or gradient norm far above the recent ones.

    `record` adds it to the record. `skip` also skips the step of the optimizer, where the script calls
    `trial.guard(...)` or is watched without changes. `rewind` also stops the trial, and a trial that is derived from it
    continues from the newest checkpoint before the spike, with another seed. `off` looks for no spikes.
    """

    RECORD = "record"
    SKIP = "skip"
    REWIND = "rewind"
    OFF = "off"
