"""TensorBoard logs that somebody else wrote, as events of a record: what their scalars say, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from sweeper.record.events import Metrics

PATTERN = "*tfevents*"
"""What TensorBoard itself takes for an event file."""


def read_scalars(folder: Path) -> dict[str, list[Metrics]]:
    """The scalars of every directory in `folder`, itself included, that holds event files.

    Each such directory is a run of TensorBoard, named by its path below `folder` (``.`` for itself), in the order of
    their names. A tag becomes a metric of the same name; values at one step come together, at the latest of their
    times. What was purged because its writer started again at an earlier step stays purged, as in TensorBoard.
    """
    runs = sorted({file.parent for file in folder.rglob(PATTERN) if file.is_file()})
    return {path.relative_to(folder).as_posix(): _metrics(path) for path in runs}


def _metrics(run: Path) -> list[Metrics]:
    # Scalars alone are wanted, all of them; of everything else the reader keeps one value a tag.
    accumulator = EventAccumulator(str(run), size_guidance={"tensors": 1}, tensor_size_guidance={"scalars": 0})
    accumulator.Reload()
    values: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for tag in _scalar_tags(accumulator):
        for event in accumulator.Tensors(tag):
            values.setdefault(event.step, {})[tag] = float(tensor_util.make_ndarray(event.tensor_proto).item())
            times[event.step] = max(times.get(event.step, 0.0), event.wall_time)
    return [Metrics(time=times[step], step=step, values=values[step]) for step in sorted(values)]


def _scalar_tags(accumulator: EventAccumulator) -> list[str]:
    try:
        tags: Mapping[str, object] = accumulator.PluginTagToContent("scalars")
    except KeyError:  # nothing that it wrote is a scalar
        return []
    return sorted(tags)
