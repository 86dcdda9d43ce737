"""Choose and encode the data of a trial: the first available dataset and the first available tokenizer.

An index maps sources to encodings, so that a trial neither reads the texts again nor imports the code that reads them.
Its entries are named by the stamps of the sources. Like the rest of the cache, they can be deleted at any time.
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
    """The dataset and the tokenizer that a trial uses."""

    dataset: Dataset
    tokenizer: TokenizerSource


def cache_dir() -> Path:
    """Return the folder of encodings and downloads: `SWEEPER_CACHE`, or `~/.cache/sweeper`."""
    return Path(os.environ.get("SWEEPER_CACHE") or Path("~", ".cache", "sweeper")).expanduser()


def choose(datasets: Sequence[str], tokenizers: Sequence[str], *, cache: Path, say: Say) -> ChosenData:
    """Return the first available dataset and tokenizer. Without a network, this takes at most 10 seconds.

    Args:
        datasets: names of datasets, in order of preference.
        tokenizers: names of tokenizers, in order of preference.
        cache: the folder of encodings and downloads.
        say: receives a line for each kind of source with an unavailable first name.

    Raises:
        DataUnavailable: none of the datasets, or none of the tokenizers, is available. The message has the reasons.
        UsageError: there is no dataset of this name.
    """
    timeout = TotalTimeout()
    dataset = first_available("dataset", datasets, lambda name: _locate_dataset(name, timeout), say)
    source = first_available(
        "tokenizer", tokenizers, lambda name: tokenizer.locate(name, cache=cache, timeout=timeout), say
    )
    return ChosenData(dataset=dataset, tokenizer=source)


def first_available(kind: str, names: Sequence[str], locate: Callable[[str], Found], say: Say) -> Found:
    """Return the result of `locate` for the first available name; report the unavailable ones before it by `say`.

    Args:
        kind: `dataset` or `tokenizer`, for messages.
        names: names in order of preference.
        locate: returns the source of a name, or raises DataUnavailable.
        say: receives one line with the unavailable names and the reasons, if there are any.

    Raises:
        DataUnavailable: none of the names is available.
    """
    unavailable: list[str] = []
    for name in names:
        try:
            found = locate(name)
        except DataUnavailable as error:
            unavailable.append(f"{name} ({error})")
            continue
        if unavailable:
            say(f"{kind}: using {name}, because these are unavailable: {', '.join(unavailable)}")
        return found
    raise DataUnavailable(f"{kind}: none is available: {', '.join(unavailable)}")


def encode(data: ChosenData, max_lengths: Sequence[int], *, cache: Path) -> dict[int, Encodings]:
    """Return the encoding for each maximum length, from the cache or newly built.

    Raises:
        UsageError: the cache cannot be written.
    """
    found = {length: _indexed(data, length, cache) for length in max_lengths}
    missing = [length for length, encoded in found.items() if encoded is None]
    try:
        return {length: encoded for length, encoded in found.items() if encoded} | _made(data, missing, cache)
    except OSError as error:
        hint = "Set SWEEPER_CACHE to a writable directory"
        raise UsageError(f"{cache}: the cache cannot be written: {error.strerror}. {hint}") from error


def _locate_dataset(name: str, timeout: TotalTimeout) -> Dataset:
    if name not in DATASETS:
        raise UsageError(f"dataset: expected one of {', '.join(DATASETS)}, got {name!r}")
    return DATASETS[name](timeout)


def _made(data: ChosenData, max_lengths: Sequence[int], cache: Path) -> dict[int, Encodings]:
    if not max_lengths:
        return {}
    corpus = data.dataset.load()
    trained = data.tokenizer.load(corpus.train.texts)
    made: dict[int, Encodings] = {}
    for length in max_lengths:
        key = encodings.build(corpus, trained, length, name=data.tokenizer.name, cache=_encodings(cache))
        _write(_index(data, length, cache), key)
        made[length] = encodings.load(_encodings(cache) / key)
    return made


def _indexed(data: ChosenData, max_length: int, cache: Path) -> Encodings | None:
    try:
        key = _index(data, max_length, cache).read_text(encoding="ascii")
        return encodings.load(_encodings(cache) / key)
    except (OSError, ValueError, RecordError):
        return None


def _index(data: ChosenData, max_length: int, cache: Path) -> Path:
    stamps = [f"format {FORMAT}", data.dataset.stamp, data.tokenizer.name, data.tokenizer.stamp, str(max_length)]
    return cache / "index" / hashlib.sha256("\n".join(stamps).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _encodings(cache: Path) -> Path:
    return cache / "encodings"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(path)
