"""Find tokenizers by name: a directory, a name on the Hugging Face hub, or `wordpiece`, trained on the texts."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import DataUnavailable, UsageError
from sweeper.trainers.data import wordpiece
from sweeper.trainers.data.network import Absent, TotalTimeout, fetch

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAINED = "wordpiece"
FILES = ("tokenizer.json", "vocab.txt")
"""The files that a tokenizer can be read from, the more complete one first."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
TRAINED_FORMAT = 1
"""Incremented whenever `wordpiece.train` gives another result for the same texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSource:
    """An available tokenizer, which is loaded on demand.

    Attributes:
        name: the name by which it was requested.
        stamp: a text that changes when the tokenizer may have changed. A trained tokenizer also depends on the dataset.
        load: returns the tokenizer, given the training texts.
    """

    name: str
    stamp: str
    load: Callable[[Sequence[str]], Tokenizer]


def locate(name: str, *, cache: Path, timeout: TotalTimeout) -> TokenizerSource:
    """Find a tokenizer by name: `wordpiece`, a directory, in the hub's cache, in sweeper's cache, or on the hub.

    Raises:
        DataUnavailable: the tokenizer is not available.
    """
    if name == TRAINED:
        return TokenizerSource(name=name, stamp=f"{TRAINED} {TRAINED_FORMAT}", load=wordpiece.train)
    file = _find(name, cache, timeout)
    stat = file.stat()
    stamp = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    return TokenizerSource(name=name, stamp=stamp, load=lambda _: read(file))


def read(file: Path) -> Tokenizer:
    """Read a tokenizer from a `tokenizer.json`, or from the vocabulary in a `vocab.txt`.

    Raises:
        UsageError: the file is not a tokenizer, or cannot be read.
    """
    from tokenizers import Tokenizer

    try:
        if file.suffix == ".json":
            return Tokenizer.from_file(str(file))
        vocabulary = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return wordpiece.bert_tokenizer([piece.rstrip("\r") for piece in vocabulary], lowercase=_lowercase(file))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise UsageError(f"{file}: the file cannot be read as a tokenizer: {error}") from error


def provenance(name: str, tokenizer: Tokenizer) -> dict[str, object]:
    """Return the description of a tokenizer for the record. The digest is that of its vocabulary as a `vocab.txt`."""
    vocabulary = wordpiece.vocabulary_of(tokenizer)
    lines = "".join(f"{piece}\n" for piece in vocabulary)
    return {"name": name, "sha256": hashlib.sha256(lines.encode()).hexdigest(), "vocab_size": len(vocabulary)}


def padding_id(tokenizer: Tokenizer) -> int:
    """Return the id of the padding token.

    Raises:
        UsageError: the tokenizer has no padding token.
    """
    for piece in ("[PAD]", "<pad>"):
        if (number := tokenizer.token_to_id(piece)) is not None:
            return int(number)
    raise UsageError("the tokenizer has no padding token, [PAD] or <pad>. Use a tokenizer for BERT")


def _find(name: str, cache: Path, timeout: TotalTimeout) -> Path:
    directory = Path(name).expanduser()
    if directory.is_dir():
        return _in_directory(directory)
    if not HUB_NAME.fullmatch(name):
        raise DataUnavailable(f"{name} is not a directory, and not a valid name on the hub")
    ours = cache / "hub" / name.replace("/", "--")
    cached = _in_hub_cache(name) or next((ours / file for file in FILES if (ours / file).exists()), None)
    return cached or _downloaded(name, ours, timeout)


def _in_directory(directory: Path) -> Path:
    for file in FILES:
        if (directory / file).exists():
            return directory / file
    raise DataUnavailable(f"{directory} contains neither {' nor '.join(FILES)}")


def _in_hub_cache(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for file in FILES:
        found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            return Path(found)
    return None


def _downloaded(name: str, folder: Path, timeout: TotalTimeout) -> Path:
    """Download the first of the files that the hub has to sweeper's cache. The hub's own client retries for minutes."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise DataUnavailable("it is not in the hub's cache, and HF_HUB_OFFLINE is set")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    for file in FILES:
        try:
            return _kept(folder / file, fetch(f"{endpoint}/{name}/resolve/main/{file}", timeout))
        except Absent:
            continue
    raise DataUnavailable(f"{endpoint} has no public model of this name with a {' or '.join(FILES)}")


def _kept(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
    return path


def _lowercase(vocabulary: Path) -> bool:
    """Return whether text is lowercased, by the configuration beside the vocabulary; true by default, as in BERT."""
    try:
        configuration = json.loads(vocabulary.with_name("tokenizer_config.json").read_bytes())
    except FileNotFoundError:
        return True
    return bool(configuration.get("do_lower_case", True))
