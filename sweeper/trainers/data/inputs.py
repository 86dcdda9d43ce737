"""What a trial trains on: the first dataset and tokenizer that can be had, encoded.

An index says which encoding belongs to which sources, so that a trial neither reads the texts again nor imports what
reads them. Its entries are named by the sources' stamps; like all of the cache they may be deleted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from sweeper.errors import DataUnavailable, RecordError, UsageError
from sweeper.trainers.data import encodings, newsgroups, synthetic, tokenizer
from sweeper.trainers.data.corpus import Dataset
from sweeper.trainers.data.encodings import FORMAT, Encodings
from sweeper.trainers.data.network import TotalTimeout
from sweeper.trainers.data.tokenizer import TokenizerSource

Say = Callable[[str], None]
Found = TypeVar("Found")
DATASETS: Mapping[str, Callable[[TotalTimeout], Dataset]] = MappingProxyType(
    {newsgroups.NAME: newsgroups.locate, synthetic.NAME: synthetic.locate}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenData:
    """A dataset and a tokenizer that can be had."""

    dataset: Dataset
    tokenizer: TokenizerSource


def cache_dir() -> Path:
    """Where encodings and downloads are kept: `SWEEPER_CACHE`, or `~/.cache/sweeper`."""
    return Path(os.environ.get("SWEEPER_CACHE") or Path("~", ".cache", "sweeper")).expanduser()


def choose(datasets: Sequence[str], tokenizers: Sequence[str], *, cache: Path, say: Say) -> ChosenData:
    """The first dataset and the first tokenizer that can be had, within 10 seconds; `say` is told what gave way.

    Raises:
        DataUnavailable: none of the names can be had; its text gives the reason for each.
        UsageError: a dataset of this name does not exist.
    """
    timeout = TotalTimeout()
    dataset = first_available("dataset", datasets, lambda name: _locate_dataset(name, timeout), say)
    source = first_available(
        "tokenizer", tokenizers, lambda name: tokenizer.locate(name, cache=cache, timeout=timeout), say
    )
    return ChosenData(dataset=dataset, tokenizer=source)


def first_available(kind: str, names: Sequence[str], locate: Callable[[str], Found], say: Say) -> Found:
    """What `locate` makes of the first name that can be had; `say` is told in one line which ones could not, and why.

    Raises:
        DataUnavailable: none can be had.
    """
    refusals: list[str] = []
    for name in names:
        try:
            found = locate(name)
        except DataUnavailable as error:
            refusals.append(f"{name} ({error})")
            continue
        if refusals:
            say(f"{kind}: cannot have {', '.join(refusals)}; using {name}")
        return found
    raise DataUnavailable(f"{kind}: cannot have {', '.join(refusals)}")


def encode(choice: ChosenData, max_lengths: Sequence[int], *, cache: Path) -> dict[int, Encodings]:
    """The encodings for each length, from the cache or made now.

    Raises:
        UsageError: the cache cannot be written.
    """
    found = {length: _indexed(choice, length, cache) for length in max_lengths}
    missing = [length for length, encoded in found.items() if encoded is None]
    try:
        return {length: encoded for length, encoded in found.items() if encoded} | _made(choice, missing, cache)
    except OSError as error:
        raise UsageError(f"{cache}: {error.strerror}; set SWEEPER_CACHE to a directory that can be written") from error


def _locate_dataset(name: str, timeout: TotalTimeout) -> Dataset:
    if name not in DATASETS:
        raise UsageError(f"dataset: expected one of {', '.join(DATASETS)}, got {name!r}")
    return DATASETS[name](timeout)


def _made(choice: ChosenData, max_lengths: Sequence[int], cache: Path) -> dict[int, Encodings]:
    if not max_lengths:
        return {}
    corpus = choice.dataset.load()
    trained = choice.tokenizer.load(corpus.train.texts)
    made: dict[int, Encodings] = {}
    for length in max_lengths:
        key = encodings.build(corpus, trained, length, name=choice.tokenizer.name, cache=_encodings(cache))
        _write(_index(choice, length, cache), key)
        made[length] = encodings.load(_encodings(cache) / key)
    return made


def _indexed(choice: ChosenData, max_length: int, cache: Path) -> Encodings | None:
    try:
        key = _index(choice, max_length, cache).read_text(encoding="ascii")
        return encodings.load(_encodings(cache) / key)
    except (OSError, ValueError, RecordError):
        return None


def _index(choice: ChosenData, max_length: int, cache: Path) -> Path:
    stamps = [f"format {FORMAT}", choice.dataset.stamp, choice.tokenizer.name, choice.tokenizer.stamp, str(max_length)]
    return cache / "index" / hashlib.sha256("\n".join(stamps).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _encodings(cache: Path) -> Path:
    return cache / "encodings"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)
