"""The pictures of all trials; see `panels` and `depth_map`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeper.record.events import Observation, Watching
from sweeper.views.figures.history import DepthHistory
from sweeper.views.figures.stop_mark import StopMark

if TYPE_CHECKING:
    from sweeper.views.figures.canvas import Values
    from sweeper.views.figures.panels import ModelPictures

MOST_LAYERS = 75


class TrialFigures:
    """Draws the pictures of trials. Not thread-safe.

    Args:
        max_layers: maximum number of layers in a picture.
        models: number of models with a cached background, which bounds the memory.
    """

    def __init__(self, max_layers: int = MOST_LAYERS, *, models: int = 2) -> None:
        self._max_layers = max_layers
        self._models = models
        self._pictures: dict[tuple[object, ...], ModelPictures] = {}

    def draw(self, watching: Watching, statistics: Mapping[str, Values], observation: Observation) -> dict[str, bytes]:
        """Return the PNG pictures of one observation, by tag; only those with watched statistics."""
        return self._pictures_of(watching).draw(statistics, observation)

    def draw_history(self, watching: Watching, history: DepthHistory, mark: StopMark | None) -> dict[str, bytes]:
        """Return the PNG picture `depth profile` of all observations so far; empty without layers or observations."""
        if not watching.layers or not history.observations():
            return {}
        return {"depth profile": self._pictures_of(watching).draw_history(history, mark)}

    def _pictures_of(self, watching: Watching) -> ModelPictures:
        from sweeper.views.figures.panels import ModelPictures  # imports matplotlib, which not every sweep needs

        key = (watching.tensors, watching.layers, watching.layer_of, watching.statistics)
        pictures = self._pictures.pop(key, None) or ModelPictures(watching, self._max_layers)
        self._pictures[key] = pictures
        while len(self._pictures) > self._models:
            del self._pictures[next(iter(self._pictures))]
        return pictures
