"""BERT's tokenizer: from its vocabulary, or from a vocabulary trained on the texts at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = 8000
RAREST = 2
"""Pieces seen less often are not learned."""


def bert_tokenizer(vocabulary: Sequence[str], *, lowercase: bool = True) -> Tokenizer:
    """What `BertTokenizerFast` does with this vocabulary, pieces in the order of their ids.

    Raises:
        KeyError: a special piece is missing.
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
    """A tokenizer whose vocabulary of at most 8,000 pieces was trained on these texts; the same for the same texts.

    The trainer numbers single characters in the order in which a hash map yields them, which differs from process to
    process, and breaks ties between pairs by those numbers. Given as special pieces they are numbered as they come.
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
    """All pieces, in the order of their ids."""
    ids = tokenizer.get_vocab(with_added_tokens=True)
    return sorted(ids, key=lambda piece: ids[piece])
