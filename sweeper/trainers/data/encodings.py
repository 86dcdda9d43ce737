"""Encode the texts of a corpus as token ids once, and map them into the memory of every trial.

1. The directory of an encoding is named by the digest of everything that it depends on, so it is never out of date.
2. It is built in a temporary directory and renamed, so it is always complete. Two processes that build the same
   encoding at the same time get the same result.
3. The digests of its files are checked when it is loaded. A damaged encoding is built again.
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
        ids: token ids, shape (N, max_length), padded.
        lengths: number of tokens of each text without padding, shape (N,).
        labels: classes, shape (N,).
    """

    ids: npt.NDArray[np.integer]
    lengths: npt.NDArray[np.integer]
    labels: npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encodings:
    """A corpus, encoded with one tokenizer and mapped from disk.

    Attributes:
        path: the directory. It also contains the tokenizer as `tokenizer.json`.
        classes: the names of the classes.
        vocab_size: the highest token id plus one.
        padding: the id of the padding token.
        provenance: the description of dataset and tokenizer for the record, as JSON-ready data.
        train: the training examples.
        test: the test examples.
    """

    path: Path
    classes: tuple[str, ...]
    vocab_size: int
    padding: int
    provenance: Mapping[str, object]
    train: Examples
    test: Examples


def key_of(corpus: Corpus, tokenizer: Tokenizer, max_length: int, *, name: str) -> str:
    """Return the name of the encoding: a digest of everything that its content depends on, including provenance."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    parts = [f"format {FORMAT}", json.dumps(corpus.provenance), name, tokenizer.to_str(), str(max_length)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def build(corpus: Corpus, tokenizer: Tokenizer, max_length: int, *, name: str, cache: Path) -> str:
    """Build the encoding in the cache unless it is there, and return its key. `name` is the tokenizer's name.

    Raises:
        OSError: the cache cannot be written.
    """
    key = key_of(corpus, tokenizer, max_length, name=name)
    if _is_complete(cache / key):
        return key
    with _temporary_directory(cache) as directory:
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
    """Map the encoding in a directory.

    Raises:
        RecordError: the encoding is missing or damaged.
    """
    try:
        meta = json.loads((path / META).read_bytes())
        if meta["format"] != FORMAT:
            raise RecordError(f"{path / META}: expected format {FORMAT}, got {meta['format']}")
        for name, digest in meta["sha256"].items():
            if _digest(path / name) != digest:
                raise RecordError(f"{path / name}: the file was changed after it was written")
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
        raise RecordError(f"{path}: the encoding cannot be read: {error}") from error


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
    """Return the numbers as uint16 if they fit, and otherwise as int32."""
    return values.astype(np.uint16 if values.max(initial=0) <= np.iinfo(np.uint16).max else np.int32)


def _is_complete(path: Path) -> bool:
    try:
        load(path)
    except RecordError:
        return False
    return True


@contextmanager
def _temporary_directory(cache: Path) -> Iterator[Path]:
    """Create a directory in the cache, and remove what is left of it at the end."""
    cache.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _move_into_place(directory: Path, final: Path) -> None:
    """Rename `directory` to `final`, unless another process has built it. A damaged `final` is replaced."""
    directory.chmod(0o755)  # mkdtemp denies access to other users, but a cache may be shared
    if final.exists() and not _is_complete(final):
        with _temporary_directory(final.parent) as trash, suppress(FileNotFoundError):
            final.rename(trash / final.name)
    try:
        directory.rename(final)
    except OSError:
        if not _is_complete(final):
            raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
