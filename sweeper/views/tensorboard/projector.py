"""Points for TensorBoard's projector: files of vectors and of lines that say what each is, held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeper.errors import RecordError
from sweeper.record.storage.layout import EMBEDDING_METADATA, EMBEDDING_VECTORS
from sweeper.record.values.redaction import redacted
from sweeper.results.wording import plain

MOST_POINTS = 5_000
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Vectors and a line of text for each; the columns of these lines have names where there is more than one."""

    vectors: npt.NDArray[np.float32]
    lines: Sequence[str]
    heads: str = ""

    @classmethod
    def read(cls, folder: Path) -> Points:
        """The two files of a folder.

        Raises:
            RecordError: they are missing, too large, or do not fit each other.
        """
        vectors, lines = folder / EMBEDDING_VECTORS, folder / EMBEDDING_METADATA
        told = _lines_of(lines)
        heads = told.pop(0) if told and "\t" in told[0] else ""
        points = cls(vectors=_vectors_of(vectors), lines=told, heads=heads)
        if len(points.vectors) != len(told):
            raise RecordError(f"{lines}: expected a line for each of {len(points.vectors)} vectors, got {len(told)}")
        return points

    def thinned(self, most: int) -> Points:
        """At most so many, evenly spaced."""
        every = max(1, -(-len(self.lines) // most))
        return Points(vectors=self.vectors[::every], lines=self.lines[::every], heads=self.heads)

    def write(self, folder: Path) -> None:
        """As TensorBoard reads them."""
        rows = ("\t".join(f"{value:.5g}" for value in vector) for vector in self.vectors.tolist())
        (folder / EMBEDDING_VECTORS).write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
        (folder / EMBEDDING_METADATA).write_text("".join(f"{line}\n" for line in self._shown()), encoding="utf-8")

    def _shown(self) -> Iterator[str]:
        for line in (self.heads, *self.lines) if self.heads else self.lines:
            yield "\t".join(plain(cell) for cell in redacted(line).split("\t"))


def _lines_of(path: Path) -> list[str]:
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise RecordError(
                f"{path}: expected at most {MOST_BYTES >> 20} MiB, got {size >> 20}: keep fewer documents"
            )
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RecordError(f"{path}: expected a readable file, got: {error.strerror}") from error
    return text.removesuffix("\n").split("\n")  # as TensorBoard does: not at what else Python takes for a line's end


def _vectors_of(path: Path) -> npt.NDArray[np.float32]:
    rows = [line.split("\t") for line in _lines_of(path)]
    try:
        vectors = np.array(rows, np.float32)
    except ValueError as error:
        raise RecordError(f"{path}: expected lines of numbers, as many in each, got: {plain(error)}") from error
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():  # noqa: PLR2004 - rows and columns
        raise RecordError(f"{path}: expected lines of finite numbers, a vector in each, got others")
    return vectors
