"""BERT's tokenizer, from a given vocabulary or from one that is trained on texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = 8000
RAREST = 2
"""Minimum number of occurrences of a token in the vocabulary."""


def bert_tokenizer(vocabulary: Sequence[str], *, lowercase: bool = True) -> Tokenizer:
    """Return a tokenizer like `BertTokenizerFast`, for a vocabulary in the order of its ids.

    Raises:
        KeyError: a special token is missing.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    ids = {piece: number for number, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106  # no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return tokenizer


def train(texts: Sequence[str]) -> Tokenizer:
    """Train a tokenizer with a vocabulary of at most 8,000 tokens. The result is the same for the same texts.

    By default, the trainer numbers characters in the order of a hash map, which differs between processes, and breaks
    ties between pairs by these numbers. Characters that are passed as special tokens are numbered in order.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    normalizer = normalizers.BertNormalizer(lowercase=True)
    characters = sorted({character for text in texts for character in normalizer.normalize_str(text)} - set(" "))
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106  # no password
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY,
        min_frequency=RAREST,
        special_tokens=[*SPECIAL, *characters, *(f"##{character}" for character in characters)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return bert_tokenizer(vocabulary_of(tokenizer))


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """Return all tokens, in the order of their ids."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(ids, key=lambda piece: ids[piece])
