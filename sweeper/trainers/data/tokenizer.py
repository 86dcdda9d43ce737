"""Tokenizers by name: a directory, a name on the Hugging Face hub, or `wordpiece`, trained on the training texts."""

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
"""What a tokenizer is read from, the more complete one first."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
TRAINED_FORMAT = 1
"""Changes with what `wordpiece.train` makes of the same texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSource:
    """A tokenizer that can be had, and need not be loaded yet.

    Attributes:
        name: the name it was asked for by.
        stamp: differs whenever the tokenizer may; cheap to come by. A trained one depends on the dataset as well.
        load: makes the tokenizer, given the training texts.
    """

    name: str
    stamp: str
    load: Callable[[Sequence[str]], Tokenizer]


def locate(name: str, *, cache: Path, timeout: TotalTimeout) -> TokenizerSource:
    """The tokenizer of a name: trained, in a directory, in the hub's cache, in ours, or downloaded, in this order.

    Raises:
        DataUnavailable: it cannot be had here.
    """
    if name == TRAINED:
        return TokenizerSource(name=name, stamp=f"{TRAINED} {TRAINED_FORMAT}", load=wordpiece.train)
    file = _find(name, cache, timeout)
    stat = file.stat()
    stamp = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    return TokenizerSource(name=name, stamp=stamp, load=lambda _: read(file))


def read(file: Path) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`, or with the vocabulary in a `vocab.txt`.

    Raises:
        UsageError: the file holds neither.
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
        raise UsageError(f"{file}: expected a tokenizer, got: {error}") from error


def provenance(name: str, tokenizer: Tokenizer) -> dict[str, object]:
    """What a record keeps of a tokenizer; the digest is that of its vocabulary as a `vocab.txt`."""
    vocabulary = wordpiece.vocabulary_of(tokenizer)
    lines = "".join(f"{piece}\n" for piece in vocabulary)
    return {"name": name, "sha256": hashlib.sha256(lines.encode()).hexdigest(), "vocab_size": len(vocabulary)}


def padding_id(tokenizer: Tokenizer) -> int:
    """The id of the piece that fills up short texts."""
    for piece in ("[PAD]", "<pad>"):
        if (number := tokenizer.token_to_id(piece)) is not None:
            return int(number)
    raise UsageError("the tokenizer has no piece named [PAD] or <pad>: use one that was made for BERT")


def _find(name: str, cache: Path, timeout: TotalTimeout) -> Path:
    directory = Path(name).expanduser()
    if directory.is_dir():
        return _in_directory(directory)
    if not HUB_NAME.fullmatch(name):
        raise DataUnavailable(f"{name} is no directory")
    ours = cache / "hub" / name.replace("/", "--")
    cached = _in_hub_cache(name) or next((ours / file for file in FILES if (ours / file).exists()), None)
    return cached or _downloaded(name, ours, timeout)


def _in_directory(directory: Path) -> Path:
    for file in FILES:
        if (directory / file).exists():
            return directory / file
    raise DataUnavailable(f"{directory} holds neither {' nor '.join(FILES)}")


def _in_hub_cache(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for file in FILES:
        found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            return Path(found)
    return None


def _downloaded(name: str, folder: Path, timeout: TotalTimeout) -> Path:
    """The first of the files that the hub has, kept in our own cache: its client retries for minutes."""
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
    """Whether letters are lowered, by the configuration beside the vocabulary; BERT's default is that they are."""
    try:
        configuration = json.loads(vocabulary.with_name("tokenizer_config.json").read_bytes())
    except FileNotFoundError:
        return True
    return bool(configuration.get("do_lower_case", True))
