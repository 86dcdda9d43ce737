"""Images, tables, artifacts and other things that the stand-in accepts and does not store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, Any

NAMES = (
    "Audio",
    "Classes",
    "EvalTable",
    "Graph",
    "Histogram",
    "Html",
    "Image",
    "JoinedTable",
    "Molecule",
    "Object3D",
    "Plotly",
    "Video",
    "box3d",
)
PLOTS = (
    "bar",
    "confusion_matrix",
    "histogram",
    "line",
    "line_series",
    "plot_table",
    "pr_curve",
    "roc_curve",
    "scatter",
    "visualize",
)


class Media:
    """Anything that W&B would show and sweeper does not record."""

    def __init__(self, *_: object, **__: object) -> None:
        """Accept whatever W&B accepts."""


class Table(Media):
    """A table with rows that the script may read back."""

    def __init__(
        self, columns: Sequence[str] | None = None, data: Iterable[Iterable[Any]] | None = None, **_: object
    ) -> None:
        super().__init__()
        self.columns = list(columns or ())
        self.data = [list(row) for row in (() if data is None else data)]

    def add_data(self, *row: object) -> None:
        """Add a row."""
        self.data.append(list(row))

    def add_column(self, name: str, data: Iterable[Any]) -> None:
        """Add a column."""
        values = list(data)
        self.data = self.data or [[] for _ in values]
        self.columns.append(name)
        for row, value in zip(self.data, values, strict=True):
            row.append(value)

    def get_column(self, name: str, **_: object) -> list[Any]:
        """Return the values of a column."""
        return [row[self.columns.index(name)] for row in self.data]


class Artifact(Media):
    """An artifact. Its files stay where the script wrote them."""

    def __init__(self, name: str, type: str = "", metadata: dict[str, Any] | None = None, **_: object) -> None:  # noqa: A002
        super().__init__()
        self.name, self.type, self.metadata = name, type, dict(metadata or {})
        self.version = "v0"
        self.aliases: list[str] = []

    def add(self, *_: object, **__: object) -> None:
        """Accept an object."""

    add_file = add_dir = add_reference = add

    @contextmanager
    def new_file(self, _name: str, mode: str = "w", encoding: str | None = None) -> Iterator[IO[Any]]:
        """Yield a file that is discarded when it is closed."""
        with TemporaryFile(mode.replace("x", "w"), encoding=encoding) as file:
            yield file

    def wait(self, *_: object, **__: object) -> Artifact:
        """Return at once: nothing is uploaded."""
        return self
