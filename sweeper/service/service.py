"""The runs of a folder, each of which stays open once it was asked about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.errors import RecordError, UsageError
from sweeper.record.storage.layout import SweepDir
from sweeper.service.answers.sweep import RunRow, Runs
from sweeper.service.open_run import OpenRun


@dataclass(slots=True)
class Service:
    """The runs of a folder. It is not safe for several threads at once.

    Attributes:
        folder: the folder of runs, as in `runs`; or the directory of a single run, as in `runs/warmup`.
    """

    folder: Path
    _open: dict[str, OpenRun] = field(default_factory=dict)

    @property
    def single(self) -> str:
        """The name of the run if the folder is one; else empty."""
        return self.folder.resolve().name if SweepDir(self.folder).spec.exists() else ""

    def names(self) -> list[str]:
        """Return the names of the runs of the folder."""
        if self.single:
            return [self.single]
        try:
            return sorted(path.name for path in self.folder.iterdir() if SweepDir(path).spec.exists())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordError(f"{self.folder}: expected a folder of runs, got: {error.strerror}") from error

    def run(self, name: str) -> OpenRun:
        """Return a run of the folder.

        Raises:
            UsageError: the folder has no run of this name. A path is not a name.
        """
        directory = self._directory(name)
        if directory is None or not directory.spec.exists():
            self._open.pop(name, None)
            known = ", ".join(self.names()[:MOST_NAMED]) or "none yet"
            raise UsageError(f"{self.folder}: expected the name of a run ({known}), got {name!r}")
        if name not in self._open:
            self._open[name] = OpenRun(directory)
        return self._open[name]

    def runs(self) -> Runs:
        """Return the runs of the folder, the one that was active last first."""
        rows = sorted(self._rows(), key=lambda row: (-(row.latest or 0.0), row.name))
        return Runs(folder=str(self.folder), runs=rows)

    def _rows(self) -> Iterator[RunRow]:
        for name in self.names():
            try:
                yield self.run(name).row()
            except (RecordError, UsageError, OSError) as error:
                yield RunRow(name=name, path=str(self.folder / name), state="UNREADABLE", counts={}, problem=str(error))

    def _directory(self, name: str) -> SweepDir | None:
        if self.single:
            return SweepDir(self.folder) if name == self.single else None
        is_name = bool(name) and "/" not in name and "\0" not in name and name not in (".", "..")
        return SweepDir(self.folder / name) if is_name else None


MOST_NAMED = 10
"""Maximum number of runs that an error names."""
