"""Group the sources of a sweep: those of one kind and of the same files are read together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypeVar

from sweeper.config import CsvSource, JsonSource, MetricSource, OutputSource, TensorBoardSource, WandbSource
from sweeper.orchestrator.collect.csv_file import CsvReader
from sweeper.orchestrator.collect.event_file import EventFileReader
from sweeper.orchestrator.collect.json_file import JsonReader
from sweeper.orchestrator.collect.output import OutputReader
from sweeper.orchestrator.collect.reading import FileReader
from sweeper.orchestrator.collect.wandb_file import WandbReader
from sweeper.rules.unread import place_of

OUTPUT = OutputSource.kind
Source = TypeVar("Source", bound=MetricSource)


@dataclass(frozen=True, slots=True)
class SourceGroup:
    """Sources of one kind that read the same files, by metric.

    `slow` are the metrics with a regular expression that took too long in one trial; they are not read any more.
    """

    kind: str
    files: Sequence[str]
    sources: Mapping[str, MetricSource]
    slow: set[str] = field(default_factory=set)

    @property
    def metrics(self) -> list[str]:
        """The metrics that are read."""
        return list(self.sources)

    @property
    def place(self) -> str:
        """The name of the group in the record."""
        return place_of(self.kind, self.files)

    def reader(self, name: str, given: Iterable[str]) -> FileReader:
        """Return a reader of one of the files.

        Args:
            name: the path of the file.
            given: the metrics of which the file has already given values.
        """
        metrics = tuple(self.sources)
        if self.kind == TensorBoardSource.kind:
            return EventFileReader(metrics=metrics, wanted=_inverted(self.sources, "tag"))
        if self.kind == WandbSource.kind:
            keys = _inverted(self.sources, "key")
            if not name.endswith(".jsonl"):
                return WandbReader(metrics=metrics, wanted=keys, given=set(given))
            lines = {metric: JsonSource(key=key, step="_step") for key, named in keys.items() for metric in named}
            return JsonReader(metrics=metrics, wanted=lines, name=name)
        if self.kind == CsvSource.kind:
            return CsvReader(metrics=metrics, wanted=_of(CsvSource, self.sources))
        if self.kind == JsonSource.kind:
            return JsonReader(metrics=metrics, wanted=_of(JsonSource, self.sources), name=name)
        return OutputReader(metrics=metrics, wanted=_of(OutputSource, self.sources), slow=self.slow)


def groups_of(metrics: Mapping[str, MetricSource]) -> list[SourceGroup]:
    """Return the sources of a sweep file in groups."""
    found: dict[tuple[str, tuple[str, ...]], dict[str, MetricSource]] = {}
    for metric, source in metrics.items():
        files = tuple(getattr(source, "file", ()))
        found.setdefault((source.kind, files), {})[metric] = source
    return [SourceGroup(kind, files, sources) for (kind, files), sources in found.items()]


def discoveries(groups: Sequence[SourceGroup]) -> list[SourceGroup]:
    """Return groups without metrics, for finding the names in the files of the kinds that are not read."""
    read = {group.kind for group in groups}
    kinds = (TensorBoardSource, WandbSource, CsvSource, JsonSource)
    return [SourceGroup(one.kind, one.model_fields["file"].default, {}) for one in kinds if one.kind not in read]


def folder_of(kind: str, file: str) -> str:
    """Return what tells apart two files that have the same metric: TensorBoard has several files in a folder."""
    return str(PurePosixPath(file).parent) if kind == TensorBoardSource.kind else file


def _inverted(sources: Mapping[str, MetricSource], setting: str) -> dict[str, list[str]]:
    """Return the metrics by a setting of their sources."""
    found: dict[str, list[str]] = {}
    for metric, source in sources.items():
        found.setdefault(getattr(source, setting), []).append(metric)
    return found


def _of(kind: type[Source], sources: Mapping[str, MetricSource]) -> dict[str, Source]:
    return {metric: source for metric, source in sources.items() if isinstance(source, kind)}
