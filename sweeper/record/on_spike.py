"""What the sweep wants done about a step with a spike: the key `on_spike` of the sweep file."""

from __future__ import annotations

from enum import StrEnum

from sweeper.errors import RecordError
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json


class OnSpike(StrEnum):
    """What happens after a step with a loss or a gradient norm far above the recent ones.

    `record` adds it to the record. `skip` also skips the step of the optimizer. `rewind` stops the trial, so that it
    can go on from an earlier checkpoint. With `off`, nothing looks for spikes.
    """

    RECORD = "record"
    SKIP = "skip"
    REWIND = "rewind"
    OFF = "off"


KEY = "on_spike"


def on_spike(trial: TrialDir) -> OnSpike:
    """Return what the sweep of a trial wants: from `trial.json`, or else from `spec.json`; by default `record`.

    The directory of a trial that was started without a sweep, or that Ray has copied to another machine, has no
    `spec.json` beside it.

    Raises:
        RecordError: the value is not valid.
    """
    spec = SweepDir(trial.path.parent.parent).spec
    for path, inside in ((trial.facts, ""), (spec, "spec")):
        if not path.exists():
            continue
        read: object = read_json(path)
        section = read.get(inside) if inside and isinstance(read, dict) else read
        value = section.get(KEY) if isinstance(section, dict) else None
        if value is None:
            continue
        try:
            return OnSpike(str(value))
        except ValueError as error:
            raise RecordError(f"{path}: {KEY}: expected one of {', '.join(OnSpike)}, got {value!r}") from error
    return OnSpike.RECORD
