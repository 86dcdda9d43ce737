"""Read the scalars of TensorBoard logs from other programs, as events of a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from sweeper.record.events import Metrics

PATTERN = "*tfevents*"
"""The file names that TensorBoard itself reads as event files."""


def read_scalars(folder: Path) -> dict[str, list[Metrics]]:
    """Return the scalars of every directory in `folder`, including itself, that has event files.

    Each such directory is a TensorBoard run, named by its path below `folder` (``.`` for itself); runs are in the order
    of their names. Each tag becomes a metric of the same name. Values at one step are one event, at the latest of their
    times. Values that TensorBoard purges because the writer restarted at an earlier step are left out.
    """
    runs = sorted({file.parent for file in folder.rglob(PATTERN) if file.is_file()})
    return {path.relative_to(folder).as_posix(): _metrics(path) for path in runs}


def _metrics(run: Path) -> list[Metrics]:
    # Keep all scalars, and only one value per tag of everything else, which is not used.
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
    except KeyError:  # the run has no scalars
        return []
    return sorted(tags)
