"""The observations that a picture over time is drawn from: a bounded number, however long the trial is.

A trial of 100,000 steps may have 10,000 observations. Its steps are divided into at most `MOST_COLUMNS` equal bins,
and the first observation of each bin represents it; the bins double in width as the trial grows. Unlike a mean, the
first observation never changes, and NaN and zero are kept. The newest observation is always included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sweeper.record.events import Observation, Watching
from sweeper.record.reader import read_row
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.values.depth_profile import depth_profile

MOST_COLUMNS = 256


@dataclass(slots=True)
class RecordedObservation:
    """An observation; its statistics are read from disk on first use, so that unused ones cost nothing."""

    observation: Observation
    watching: Watching
    attempt: AttemptDir
    _profile: npt.NDArray[np.float32] | None = None

    @property
    def profile(self) -> npt.NDArray[np.float32] | None:
        """Return the root-mean-square gradient of each layer; None if its row is torn or not written yet."""
        if self._profile is None and (norms := (self.statistics() or {}).get("grad_norm")) is not None:
            watching = self.watching
            profile = depth_profile(norms.tolist(), watching.sizes, watching.layer_of, len(watching.layers))
            self._profile = np.array(profile, np.float32)
        return self._profile

    def statistics(self) -> Mapping[str, npt.NDArray[np.float64]] | None:
        """Return each watched statistic as an array over the tensors; None if the row is torn or not written yet."""
        names, tensors = self.watching.statistics, len(self.watching.tensors)
        observation = self.observation
        row = read_row(self.attempt, observation.row, self.watching.row_width, observation.row_crc)
        if row is None:
            return None
        table = np.array(row[: self.watching.of_tensors], np.float64).reshape(tensors, len(names))
        return dict(zip(names, table.T, strict=True))


@dataclass(slots=True)
class DepthHistory:
    """The observations of one trial; if they are `thinned`, each represents `width` steps."""

    width: int = 1
    thinned: bool = False
    _bins: dict[int, RecordedObservation] = field(default_factory=dict)
    _newest: RecordedObservation | None = None

    def add(self, recorded: RecordedObservation) -> None:
        """Add the next observation. If its layers differ from those before, the history starts from scratch."""
        if self._newest is not None and self._newest.watching.layers != recorded.watching.layers:
            self.width, self.thinned, self._bins = 1, False, {}
        self._newest = recorded
        while recorded.observation.step // self.width >= MOST_COLUMNS:
            self.width *= 2
            observations, self._bins = self._bins.values(), {}
            for kept in observations:
                self._put(kept)
        self._put(recorded)

    def observations(self) -> list[RecordedObservation]:
        """Return the observations that represent the trial, by step: one per bin, and the newest."""
        observations = {
            id(recorded): recorded for recorded in (*self._bins.values(), self._newest) if recorded is not None
        }
        return sorted(observations.values(), key=lambda recorded: recorded.observation.step)

    @property
    def has_profile(self) -> bool:
        """Return whether any observation has a profile; none has if the trial recorded only reach."""
        return any(recorded.profile is not None for recorded in self.observations())

    def _put(self, recorded: RecordedObservation) -> None:
        first = self._bins.setdefault(recorded.observation.step // self.width, recorded)
        self.thinned = self.thinned or first is not recorded
