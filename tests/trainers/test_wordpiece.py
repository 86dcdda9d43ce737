"""BERT's tokenizer, held against transformers'; and vocabularies trained on the texts at hand."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from sweeper.trainers.data import wordpiece
from sweeper.trainers.data.tokenizer import provenance, read

TEXTS = [
    "Hello, I'm a CAFÉ!  naïve façade",
    "From: a@b.c (X. Y.)\nSubject: Re: what?\n\n> quoted\ttext",
    "中文 and 日本語, emoji 🙂, control \x00 \ufffd",
    "unaffable antidisestablishmentarianism " + "x" * 150,
    "[MASK] me [SEP] now",
    "",
]
TRAINED = """
from sweeper.trainers.data import synthetic, tokenizer, wordpiece
texts = synthetic.load().train.texts
print(tokenizer.provenance("wordpiece", wordpiece.train(texts))["sha256"])
"""


def test_it_is_the_tokenizer_of_transformers(bert_vocabulary: Path) -> None:
    from transformers import BertTokenizerFast  # type: ignore[attr-defined]  # made by transformers at run time

    theirs = BertTokenizerFast.from_pretrained(bert_vocabulary)
    ours = read(bert_vocabulary / "vocab.txt")
    assert [encoded.ids for encoded in ours.encode_batch_fast(TEXTS)] == theirs(TEXTS).input_ids


def test_the_digest_is_that_of_the_published_file(bert_vocabulary: Path) -> None:
    published = hashlib.sha256((bert_vocabulary / "vocab.txt").read_bytes()).hexdigest()
    assert provenance("bert", read(bert_vocabulary / "vocab.txt")) == {
        "name": "bert",
        "sha256": published,
        "vocab_size": 30522,
    }


def test_training_gives_the_same_vocabulary_in_every_process() -> None:
    digests = {
        subprocess.run([sys.executable, "-c", TRAINED], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


def test_a_trained_vocabulary_knows_its_texts() -> None:
    trained = wordpiece.train(["the cat sat on the mat"] * 3 + ["a cat, a mat"] * 3)
    assert trained.encode("The cat, a mat").tokens == ["[CLS]", "the", "cat", ",", "a", "mat", "[SEP]"]
    assert trained.encode("zebra").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    assert [trained.token_to_id(piece) for piece in wordpiece.SPECIAL] == [0, 1, 2, 3, 4]
