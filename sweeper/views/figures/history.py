"""The observations that a picture over time is drawn from: few enough to draw, however long the trial.

A trial of 100,000 steps is looked at ten thousand times. Its steps are divided into equal bins, at most MOST_COLUMNS,
and the first look of each stands for it; bins double in width as the trial goes on. Unlike a mean, a look that stands
never changes, and NaN and zero stay what they are. The newest look is always among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sweeper.record.events import Observation, Watching
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.trial import read_row
from sweeper.record.values.depth_profile import depth_profile

MOST_COLUMNS = 256


@dataclass(slots=True)
class Look:
    """One observation; its profile is read when it is first asked for, so that what is thinned out costs nothing."""

    observation: Observation
    watching: Watching
    attempt: AttemptDir
    _profile: npt.NDArray[np.float32] | None = None

    @property
    def profile(self) -> npt.NDArray[np.float32] | None:
        """Root-mean-square gradient of each layer; None where its row is torn, or has not arrived yet."""
        if self._profile is None and (norms := (self.statistics() or {}).get("grad_norm")) is not None:
            seen = self.watching
            profile = depth_profile(norms.tolist(), seen.sizes, seen.layer_of, len(seen.layers))
            self._profile = np.array(profile, np.float32)
        return self._profile

    def statistics(self) -> Mapping[str, npt.NDArray[np.float64]] | None:
        """Each watched statistic, tensor by tensor; None where their row is torn, or has not arrived yet."""
        names, tensors = self.watching.statistics, len(self.watching.tensors)
        row = read_row(self.attempt, self.observation.row, self.watching.row_width)
        if row is None:
            return None
        table = np.array(row[: self.watching.of_tensors], np.float64).reshape(tensors, len(names))
        return dict(zip(names, table.T, strict=True))


@dataclass(slots=True)
class DepthHistory:
    """The looks of one trial; where they are `thinned`, one of them stands for `width` steps."""

    width: int = 1
    thinned: bool = False
    _bins: dict[int, Look] = field(default_factory=dict)
    _newest: Look | None = None

    def add(self, look: Look) -> None:
        """Take in the next observation of the history; other layers than before begin it anew."""
        if self._newest is not None and self._newest.watching.layers != look.watching.layers:
            self.width, self.thinned, self._bins = 1, False, {}
        self._newest = look
        while look.observation.step // self.width >= MOST_COLUMNS:
            self.width *= 2
            looks, self._bins = self._bins.values(), {}
            for kept in looks:
                self._put(kept)
        self._put(look)

    def looks(self) -> list[Look]:
        """The looks that stand, by step: one of each bin, and the newest."""
        looks = {id(look): look for look in (*self._bins.values(), self._newest) if look is not None}
        return sorted(looks.values(), key=lambda look: look.observation.step)

    @property
    def has_profile(self) -> bool:
        """Whether there is a profile of any look that stands; none where only reach was kept."""
        return any(look.profile is not None for look in self.looks())

    def _put(self, look: Look) -> None:
        first = self._bins.setdefault(look.observation.step // self.width, look)
        self.thinned = self.thinned or first is not look
