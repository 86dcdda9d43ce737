"""Where the best model of a trial of `text-classification` puts the test documents: vectors, and what each one is.

Run by `python -m sweeper.trainers.embeddings TRIAL FOLDER`, once the trial has ended: the training process has no
part in it. The vector of a document is what the classifier is given, BERT's pooled output. Computes on the CPU: GPUs
belong to trials.
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
"""The projector's own methods take no more in a browser at once."""
BATCH = 32
LONGEST_TEXT = 160
COLUMNS = ("class", "predicted", "right", "text")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files of one trial; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sweeper.trainers.embeddings", description=__doc__)
    parser.add_argument("trial", type=Path, metavar="TRIAL", help="directory of the trial")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to write")
    parser.add_argument("--most", type=int, default=MOST_DOCUMENTS, metavar="DOCUMENTS", help="default: %(default)s")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # trials may run beside it
    try:
        embed(TrialDir(given.trial), given.folder, most=given.most)
    except SweeperError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def embed(trial: TrialDir, folder: Path, *, most: int = MOST_DOCUMENTS) -> None:
    """Write `vectors.tsv` and `metadata.tsv` to `folder`, of at most so many test documents, evenly spaced.

    Raises:
        DataUnavailable: the weights, or the documents that they were trained beside, cannot be had any more.
        SweeperError: the trial is none of this trainer.
    """
    settings = parse(Facts.read(trial).params)
    cache = inputs.cache_dir()
    choice = inputs.choose(settings.dataset, settings.tokenizer, cache=cache, say=_say)
    encodings = inputs.encode(choice, [settings.max_length], cache=cache)[settings.max_length]
    model = _best(trial, encodings)
    documents = Batches.of(encodings.test, torch.device("cpu"))
    rows = torch.arange(0, len(documents), max(1, -(-len(documents) // most)))
    vectors, predicted = _forward(model, documents, rows)
    (folder / EMBEDDING_VECTORS).write_text(
        "".join("\t".join(f"{value:.5g}" for value in vector) + "\n" for vector in vectors.tolist()), encoding="ascii"
    )
    lines = _metadata(choice, encodings, rows.tolist(), predicted.tolist())
    (folder / EMBEDDING_METADATA).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _best(trial: TrialDir, encodings: Encodings) -> BertForSequenceClassification:
    """The weights of the best evaluation, once it is sure that these documents are encoded as it knew them."""
    from transformers import BertForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        if (trial.best / TOKENIZER).read_bytes() != (encodings.path / TOKENIZER).read_bytes():
            raise DataUnavailable(
                f"{trial.best / TOKENIZER}: expected the tokenizer of {encodings.path}, got another: "
                "the documents that can be had now are not those of the trial"
            )
        model: BertForSequenceClassification = BertForSequenceClassification.from_pretrained(
            trial.best, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DataUnavailable(f"{trial.best}: expected the weights of a BERT, got: {error}") from error
    model.eval()
    return model


@torch.inference_mode()
def _forward(
    model: BertForSequenceClassification, documents: Batches, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the classifier is given for each document, N x hidden size; and the class that it names."""
    pooled = torch.cat([model.bert(**documents.take(some)[0]).pooler_output for some in rows.split(BATCH)])
    return pooled, model.classifier(pooled).argmax(dim=-1)


def _metadata(choice: ChosenData, encodings: Encodings, rows: Sequence[int], predicted: Sequence[int]) -> Iterable[str]:
    """The heads of the columns, and a line for each document."""
    yield "\t".join(COLUMNS)
    test = choice.dataset.load().test
    for row, guess in zip(rows, predicted, strict=True):
        label = test.labels[row]
        right = "yes" if guess == label else "no"
        yield "\t".join(
            _cell(part) for part in (encodings.classes[label], encodings.classes[guess], right, test.texts[row])
        )


def _cell(text: str) -> str:
    """The beginning of a text on one line, without what separates columns."""
    line = " ".join(text[: 4 * LONGEST_TEXT].split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
