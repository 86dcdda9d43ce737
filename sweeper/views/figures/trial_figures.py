"""The pictures of trials, drawn model by model; see `views.panels` and `views.depthmap`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeper.record.events import Observation, Watching
from sweeper.results.health.verdict import Verdict
from sweeper.views.figures.history import DepthHistory

if TYPE_CHECKING:
    from sweeper.views.figures.canvas import Values
    from sweeper.views.figures.panels import Sheets

MOST_LAYERS = 75


class Figures:
    """Draws at most `max_layers` layers; keeps the still parts of the `models` drawn last, so memory is bounded.

    Not for several threads.
    """

    def __init__(self, max_layers: int = MOST_LAYERS, *, models: int = 2) -> None:
        self._max_layers = max_layers
        self._models = models
        self._sheets: dict[tuple[object, ...], Sheets] = {}

    def draw(self, watching: Watching, statistics: Mapping[str, Values], observation: Observation) -> dict[str, bytes]:
        """PNG pictures of the statistics of one observation, by tag; those for which they are watched."""
        return self._sheets_of(watching).draw(statistics, observation)

    def draw_history(self, watching: Watching, history: DepthHistory, verdict: Verdict | None) -> dict[str, bytes]:
        """The PNG picture `depth profile` of all observations so far; none where there are no layers."""
        if not watching.layers or not history.looks():
            return {}
        return {"depth profile": self._sheets_of(watching).draw_history(history, verdict)}

    def _sheets_of(self, watching: Watching) -> Sheets:
        from sweeper.views.figures.panels import (
            Sheets,  # with matplotlib, which a sweep that watches nothing can do without
        )

        key = (watching.tensors, watching.layers, watching.layer_of, watching.statistics)
        sheets = self._sheets.pop(key, None) or Sheets(watching, self._max_layers)
        self._sheets[key] = sheets
        while len(self._sheets) > self._models:
            del self._sheets[next(iter(self._sheets))]
        return sheets
