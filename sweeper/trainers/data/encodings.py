"""Texts as numbers, made once and mapped into the memory of every trial.

1. An encoding's directory is named by the digest of all that it depends on, so it is never out of date.
2. It is built aside and moved into place whole: who finds the name finds all of it. Two that build at once make the
   same.
3. Its files are held against their digests when it is opened; a damaged one is built anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sweeper.errors import RecordError
from sweeper.trainers.data import tokenizer as tokenizers_
from sweeper.trainers.data.corpus import Corpus, Split

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FORMAT = 1
META = "meta.json"
TOKENIZER = "tokenizer.json"
SPLITS = ("train", "test")
ARRAYS = ("ids", "lengths", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The encoded texts of one split.

    Attributes:
        ids: numbers of pieces, N x max_length, filled up with the padding's.
        lengths: how many of them are the text's, N.
        labels: classes, N.
    """

    ids: npt.NDArray[np.integer]
    lengths: npt.NDArray[np.integer]
    labels: npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encodings:
    """A corpus as one tokenizer sees it, mapped from disk.

    Attributes:
        path: the directory; holds the tokenizer as `tokenizer.json` too.
        classes: the names of the classes.
        vocab_size: one more than the highest number of a piece.
        padding: the number of the piece that fills up short texts.
        provenance: what a record keeps of the dataset and of the tokenizer, as JSON values.
    """

    path: Path
    classes: tuple[str, ...]
    vocab_size: int
    padding: int
    provenance: Mapping[str, object]
    train: Examples
    test: Examples


def key_of(corpus: Corpus, tokenizer: Tokenizer, max_length: int, *, name: str) -> str:
    """The name of the encoding: a digest of everything that its content depends on, provenance included."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    parts = [f"format {FORMAT}", json.dumps(corpus.provenance), name, tokenizer.to_str(), str(max_length)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def build(corpus: Corpus, tokenizer: Tokenizer, max_length: int, *, name: str, cache: Path) -> str:
    """Make sure that the encoding is in the cache; returns its key. `name` is the tokenizer's.

    Raises:
        OSError: the cache cannot be written.
    """
    key = key_of(corpus, tokenizer, max_length, name=name)
    if _is_whole(cache / key):
        return key
    with _aside(cache) as directory:
        (directory / TOKENIZER).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        padding = tokenizers_.padding_id(tokenizer)
        tokenizer.enable_truncation(max_length)
        size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        for split, of in zip(SPLITS, (corpus.train, corpus.test), strict=True):
            for array, values in _encode(of, tokenizer, max_length, padding).items():
                np.save(directory / f"{split}_{array}.npy", _narrowed(values))
        meta = {
            "format": FORMAT,
            "classes": list(corpus.classes),
            "vocab_size": size,
            "padding": padding,
            "provenance": {"dataset": corpus.provenance, "tokenizer": tokenizers_.provenance(name, tokenizer)},
            "sha256": {path.name: _digest(path) for path in sorted(directory.iterdir())},
        }
        (directory / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        _move_into_place(directory, cache / key)
    return key


def load(path: Path) -> Encodings:
    """The encoding in a directory, mapped.

    Raises:
        RecordError: it is not there, or not as it was made.
    """
    try:
        meta = json.loads((path / META).read_bytes())
        if meta["format"] != FORMAT:
            raise RecordError(f"{path / META}: expected format {FORMAT}, got {meta['format']}")
        for name, digest in meta["sha256"].items():
            if _digest(path / name) != digest:
                raise RecordError(f"{path / name}: expected the bytes that were written, got others")
        splits = {split: _mapped(path, split) for split in SPLITS}
        return Encodings(
            path=path,
            classes=tuple(meta["classes"]),
            vocab_size=meta["vocab_size"],
            padding=meta["padding"],
            provenance=meta["provenance"],
            **splits,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: expected an encoding, got: {error}") from error


def _mapped(path: Path, split: str) -> Examples:
    return Examples(**{array: np.load(path / f"{split}_{array}.npy", mmap_mode="r") for array in ARRAYS})


def _encode(split: Split, tokenizer: Tokenizer, max_length: int, padding: int) -> dict[str, npt.NDArray[np.int64]]:
    ids = np.full((len(split.texts), max_length), padding, dtype=np.int64)
    lengths = np.zeros(len(split.texts), dtype=np.int64)
    for row, encoded in enumerate(tokenizer.encode_batch_fast(list(split.texts))):
        lengths[row] = len(encoded.ids)
        ids[row, : lengths[row]] = encoded.ids
    return {"ids": ids, "lengths": lengths, "labels": np.asarray(split.labels, dtype=np.int64)}


def _narrowed(values: npt.NDArray[np.int64]) -> npt.NDArray[np.integer]:
    """The same numbers in two bytes each where they fit."""
    return values.astype(np.uint16 if values.max(initial=0) <= np.iinfo(np.uint16).max else np.int32)


def _is_whole(path: Path) -> bool:
    try:
        load(path)
    except RecordError:
        return False
    return True


@contextmanager
def _aside(cache: Path) -> Iterator[Path]:
    """A new directory beside the final one; what is left of it at the end is removed."""
    cache.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _move_into_place(directory: Path, final: Path) -> None:
    """Rename `directory` to `final`, unless somebody else put the same there; a damaged one makes room."""
    directory.chmod(0o755)  # mkdtemp lets nobody else in; a cache may be shared
    if final.exists() and not _is_whole(final):
        with _aside(final.parent) as waste, suppress(FileNotFoundError):
            final.rename(waste / final.name)
    try:
        directory.rename(final)
    except OSError:
        if not _is_whole(final):
            raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
