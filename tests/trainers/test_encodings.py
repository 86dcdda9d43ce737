"""Encodings on disk: right, shared, and made again when they are damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sweeper.errors import RecordError
from sweeper.trainers.data import encodings, wordpiece
from sweeper.trainers.data.corpus import Corpus, Split
from sweeper.trainers.data.encodings import META

TEXTS = ("the cat sat on the mat", "a dog, a cat", "the dog sat", "on a mat")
BUILD = """
import sys
from pathlib import Path
from sweeper.trainers.data import inputs
choice = inputs.choose(["synthetic-topics"], ["wordpiece"], cache=Path(sys.argv[1]), say=print)
sys.stdin.readline()
print(inputs.encode(choice, [16], cache=Path(sys.argv[1]))[16].path)
"""


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(
        name="pets",
        source="here",
        classes=("cat", "dog"),
        train=Split(texts=TEXTS * 3, labels=(0, 1, 1, 0) * 3),
        test=Split(texts=TEXTS[:2], labels=(0, 1)),
    )


def _build(corpus: Corpus, cache: Path, max_length: int = 6) -> Path:
    return cache / encodings.build(corpus, wordpiece.train(corpus.train.texts), max_length, name="w", cache=cache)


def test_numbers_lengths_and_labels_are_those_of_the_texts(corpus: Corpus, tmp_path: Path) -> None:
    loaded = encodings.load(_build(corpus, tmp_path))
    tokenizer = wordpiece.train(corpus.train.texts)
    for row, text in enumerate(corpus.train.texts):
        ids = tokenizer.encode(text).ids
        wanted = ids if len(ids) <= 6 else [*ids[:5], tokenizer.token_to_id("[SEP]")]
        length = int(loaded.train.lengths[row])
        assert loaded.train.ids[row, :length].tolist() == wanted
        assert (loaded.train.ids[row, length:] == loaded.padding).all()
    assert loaded.train.labels.tolist() == list(corpus.train.labels)
    assert loaded.test.labels.tolist() == [0, 1]
    assert loaded.classes == ("cat", "dog")
    assert loaded.vocab_size == tokenizer.get_vocab_size()


def test_arrays_are_small_and_mapped(corpus: Corpus, tmp_path: Path) -> None:
    ids = encodings.load(_build(corpus, tmp_path)).train.ids
    assert isinstance(ids, np.memmap)
    assert ids.dtype == np.uint16
    assert ids.shape == (12, 6)


def test_numbers_beyond_two_bytes_are_kept() -> None:
    assert encodings._narrowed(np.array([65_535])).dtype == np.uint16
    assert encodings._narrowed(np.array([65_536])).tolist() == [65_536]


def test_everything_that_it_depends_on_is_in_the_key(corpus: Corpus) -> None:
    tokenizer = wordpiece.train(corpus.train.texts)
    relabelled = Corpus(
        name="pets",
        source="here",
        classes=corpus.classes,
        train=corpus.train,
        test=Split(texts=TEXTS[:2], labels=(1, 0)),
    )
    keys = {
        encodings.key_of(corpus, tokenizer, 6, name="w"),
        encodings.key_of(corpus, tokenizer, 7, name="w"),
        encodings.key_of(relabelled, tokenizer, 6, name="w"),
        encodings.key_of(corpus, wordpiece.train(["another text"] * 3), 6, name="w"),
    }
    assert len(keys) == 4


def test_the_key_does_not_depend_on_what_was_encoded_before(corpus: Corpus) -> None:
    tokenizer = wordpiece.train(corpus.train.texts)
    before = encodings.key_of(corpus, tokenizer, 6, name="w")
    tokenizer.enable_truncation(3)
    assert encodings.key_of(corpus, tokenizer, 6, name="w") == before


@pytest.mark.parametrize("name", [META, "tokenizer.json", "train_ids.npy", "test_labels.npy"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_encoding_is_refused_and_built_again(corpus: Corpus, tmp_path: Path, name: str, damage: str) -> None:
    path = _build(corpus, tmp_path)
    whole = {file.name: file.read_bytes() for file in path.iterdir()}
    content = bytearray(whole[name])
    if damage == "cut":
        (path / name).write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[0] ^= 1
        (path / name).write_bytes(content)
    else:
        (path / name).unlink()
    with pytest.raises(RecordError):
        encodings.load(path)
    assert _build(corpus, tmp_path) == path
    assert {file.name: file.read_bytes() for file in path.iterdir()} == whole
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # nothing is left lying about


def test_two_processes_that_build_at_once_get_the_same(tmp_path: Path) -> None:
    building = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in building:  # both have chosen and wait: let them go
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    paths = [process.communicate(timeout=60)[0].strip() for process in building]
    assert [process.returncode for process in building] == [0, 0]
    assert paths[0] == paths[1]
    assert len(encodings.load(Path(paths[0])).train.labels) == 2034
    assert [entry.name for entry in (tmp_path / "encodings").iterdir()] == [Path(paths[0]).name]
