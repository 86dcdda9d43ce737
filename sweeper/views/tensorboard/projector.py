"""Points for TensorBoard's projector: a file of vectors, and a file with a line of metadata for each vector."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeper.errors import RecordError
from sweeper.record.storage import confined
from sweeper.record.storage.layout import EMBEDDING_METADATA, EMBEDDING_VECTORS
from sweeper.record.values.redaction import redacted
from sweeper.results.wording import plain

MOST_POINTS = 5_000
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPoints:
    """Vectors, and a line of metadata for each; `heads` names the columns of the lines if there are several."""

    vectors: npt.NDArray[np.float32]
    lines: Sequence[str]
    heads: str = ""

    @classmethod
    def read(cls, folder: Path) -> EmbeddingPoints:
        """Read the two files of a folder.

        Raises:
            RecordError: a file is missing or too large, or they have different lengths.
        """
        vectors, metadata = folder / EMBEDDING_VECTORS, folder / EMBEDDING_METADATA
        lines = _lines_of(metadata)
        heads = lines.pop(0) if lines and "\t" in lines[0] else ""
        points = cls(vectors=_vectors_of(vectors), lines=lines, heads=heads)
        if len(points.vectors) != len(lines):
            raise RecordError(
                f"{metadata}: expected a line for each of {len(points.vectors)} vectors, got {len(lines)}"
            )
        return points

    def thinned(self, most: int) -> EmbeddingPoints:
        """Return at most `most` points, evenly spaced."""
        every = max(1, -(-len(self.lines) // most))
        return EmbeddingPoints(vectors=self.vectors[::every], lines=self.lines[::every], heads=self.heads)

    def write(self, folder: Path) -> None:
        """Write the two files in TensorBoard's format; secrets in the metadata are redacted."""
        rows = ("\t".join(f"{value:.5g}" for value in vector) for vector in self.vectors.tolist())
        (folder / EMBEDDING_VECTORS).write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
        (folder / EMBEDDING_METADATA).write_text("".join(f"{line}\n" for line in self._shown()), encoding="utf-8")

    def _shown(self) -> Iterator[str]:
        for line in (self.heads, *self.lines) if self.heads else self.lines:
            yield "\t".join(plain(cell) for cell in redacted(line).split("\t"))


def _lines_of(path: Path) -> list[str]:
    try:
        text = confined.read_bytes(path, most=MOST_BYTES).decode(errors="replace")
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise RecordError(f"{path}: {error.strerror}: keep fewer documents") from error
        raise RecordError(f"{path}: expected a readable file, got: {error.strerror}") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n")  # like TensorBoard; str.splitlines splits at other characters too


def _vectors_of(path: Path) -> npt.NDArray[np.float32]:
    rows = [line.split("\t") for line in _lines_of(path)]
    try:
        vectors = np.array(rows, np.float32)
    except ValueError as error:
        raise RecordError(f"{path}: expected lines with equally many numbers, got: {plain(error)}") from error
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():  # noqa: PLR2004 - rows and columns
        raise RecordError(f"{path}: expected a vector of finite numbers in each line")
    return vectors
