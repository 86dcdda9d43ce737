"""Compute embeddings of the test documents with the best model of a `text-classification` trial.

Run by `python -m sweeper.trainers.embeddings TRIAL FOLDER` after the trial has ended. The vector of a document is the
input of the classifier, BERT's pooled output. It is computed on the CPU, so that GPUs stay free for trials.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sweeper.errors import DataUnavailable, SweeperError
from sweeper.record.facts import Facts
from sweeper.record.storage.layout import EMBEDDING_METADATA, EMBEDDING_VECTORS, TrialDir
from sweeper.trainers.data import inputs
from sweeper.trainers.data.batches import Batches
from sweeper.trainers.data.encodings import TOKENIZER, Encodings
from sweeper.trainers.data.inputs import ChosenData
from sweeper.trainers.settings import parse

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification

MOST_DOCUMENTS = 2_000
"""Default maximum number of documents. TensorBoard's projector cannot handle more in a browser."""
BATCH = 32
LONGEST_TEXT = 160
COLUMNS = ("class", "predicted", "right", "text")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files of one trial, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sweeper.trainers.embeddings", description=__doc__)
    parser.add_argument("trial", type=Path, metavar="TRIAL", help="directory of the trial")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder for the files")
    parser.add_argument(
        "--most",
        type=int,
        default=MOST_DOCUMENTS,
        metavar="N",
        help="maximum number of documents (default: %(default)s)",
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # trials may be running on the other cores
    try:
        embed(TrialDir(given.trial), given.folder, most=given.most)
    except SweeperError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def embed(trial: TrialDir, folder: Path, *, most: int = MOST_DOCUMENTS) -> None:
    """Write `vectors.tsv` and `metadata.tsv` to `folder`, for at most `most` evenly spaced test documents.

    Raises:
        DataUnavailable: the weights of the trial, or the documents that it used, are no longer available.
        SweeperError: the trial does not belong to this trainer.
    """
    settings = parse(Facts.read(trial).params)
    cache = inputs.cache_dir()
    data = inputs.choose(settings.dataset, settings.tokenizer, cache=cache, say=_say)
    encodings = inputs.encode(data, [settings.max_length], cache=cache)[settings.max_length]
    model = _best(trial, encodings)
    documents = Batches.of(encodings.test, torch.device("cpu"))
    rows = torch.arange(0, len(documents), max(1, -(-len(documents) // most)))
    vectors, predicted = _forward(model, documents, rows)
    (folder / EMBEDDING_VECTORS).write_text(
        "".join("\t".join(f"{value:.5g}" for value in vector) + "\n" for vector in vectors.tolist()), encoding="ascii"
    )
    lines = _metadata(data, encodings, rows.tolist(), predicted.tolist())
    (folder / EMBEDDING_METADATA).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _best(trial: TrialDir, encodings: Encodings) -> BertForSequenceClassification:
    """Load the best weights of the trial, after checking that its tokenizer is the one of these encodings."""
    from transformers import BertForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        if (trial.best / TOKENIZER).read_bytes() != (encodings.path / TOKENIZER).read_bytes():
            raise DataUnavailable(
                f"the documents available now are not those of the trial: {trial.best / TOKENIZER} "
                f"differs from the tokenizer in {encodings.path}"
            )
        model: BertForSequenceClassification = BertForSequenceClassification.from_pretrained(
            trial.best, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DataUnavailable(f"{trial.best}: the weights cannot be loaded as a BERT: {error}") from error
    model.eval()
    return model


@torch.inference_mode()
def _forward(
    model: BertForSequenceClassification, documents: Batches, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pooled outputs of the documents, shape (N, hidden size), and the predicted classes, shape (N,)."""
    pooled = torch.cat([model.bert(**documents.take(some)[0]).pooler_output for some in rows.split(BATCH)])
    return pooled, model.classifier(pooled).argmax(dim=-1)


def _metadata(data: ChosenData, encodings: Encodings, rows: Sequence[int], predicted: Sequence[int]) -> Iterable[str]:
    """Return the header line, and one line for each document."""
    yield "\t".join(COLUMNS)
    test = data.dataset.load().test
    for row, guess in zip(rows, predicted, strict=True):
        label = test.labels[row]
        right = "yes" if guess == label else "no"
        yield "\t".join(
            _cell(part) for part in (encodings.classes[label], encodings.classes[guess], right, test.texts[row])
        )


def _cell(text: str) -> str:
    """Return the beginning of a text on one line, without tabs."""
    line = " ".join(text[: 4 * LONGEST_TEXT].split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
