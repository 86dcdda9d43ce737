"""Where the best weights of a trial put the test documents: what the classifier is given, and what each document is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from sweeper.errors import DataUnavailable
from sweeper.record.storage.layout import TrialDir, write_json
from sweeper.trainers import best
from sweeper.trainers.data import inputs
from sweeper.trainers.data.batches import Batches
from sweeper.trainers.data.corpus import Corpus
from sweeper.trainers.data.encodings import TOKENIZER
from sweeper.trainers.embeddings import COLUMNS, LONGEST_TEXT, embed, main
from sweeper.trainers.model import build
from sweeper.trainers.settings import parse
from sweeper.trainers.text_classification import evaluate

PARAMS = {
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "max_length": 8,
    "dataset": "synthetic-topics",
    "tokenizer": "wordpiece",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trial that has ended, its model, and its documents."""

    directory: TrialDir
    model: torch.nn.Module
    corpus: Corpus
    documents: Batches


@pytest.fixture
def trained(tmp_path: Path, cache: Path) -> Trained:
    trial = TrialDir(tmp_path / "0000")
    trial.path.mkdir()
    facts = {"number": 0, "configuration": 0, "seed": 0, "params": PARAMS, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "accuracy/test", "maximize": True})
    settings = parse(PARAMS)
    choice = inputs.choose(settings.dataset, settings.tokenizer, cache=cache, say=print)
    encodings = inputs.encode(choice, [settings.max_length], cache=cache)[settings.max_length]
    torch.manual_seed(0)
    model = build(settings, encodings, device=torch.device("cpu"))
    best.save(model, encodings.path / TOKENIZER, trial.path)
    documents = Batches.of(encodings.test, torch.device("cpu"))
    return Trained(directory=trial, model=model.eval(), corpus=choice.dataset.load(), documents=documents)


def rows_of(folder: Path) -> tuple[list[list[float]], list[list[str]]]:
    vectors = [[float(cell) for cell in line.split("\t")] for line in (folder / "vectors.tsv").read_text().splitlines()]
    lines = [line.split("\t") for line in (folder / "metadata.tsv").read_text("utf-8").splitlines()]
    assert lines.pop(0) == list(COLUMNS)
    return vectors, lines


def test_a_vector_is_the_classifiers_input_for_its_text(trained: Trained, tmp_path: Path) -> None:
    embed(trained.directory, tmp_path, most=50)
    vectors, lines = rows_of(tmp_path)
    test, seen = trained.corpus.test, []
    trained.model.classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))  # type: ignore[union-attr]
    tokenizer = Tokenizer.from_file(str(trained.directory.best / "tokenizer.json"))
    tokenizer.enable_truncation(parse(PARAMS).max_length)
    every = len(test.texts) // 50 + 1
    for row, (vector, line) in enumerate(zip(vectors, lines, strict=True)):
        text = test.texts[row * every]
        with torch.inference_mode():
            trained.model(torch.tensor([tokenizer.encode(text).ids]))
        assert vector == pytest.approx(seen[-1].tolist(), abs=1e-4)
        assert line[0] == trained.corpus.classes[test.labels[row * every]]
        assert text.startswith(line[3].removesuffix("…").split(" ")[0])
        assert len(line[3]) <= LONGEST_TEXT


def test_the_lines_are_right_as_often_as_the_trial_is(trained: Trained, tmp_path: Path) -> None:
    embed(trained.directory, tmp_path)
    _, lines = rows_of(tmp_path)
    accuracy = evaluate(trained.model, trained.documents)[1]
    assert [line[2] for line in lines].count("yes") / len(lines) == pytest.approx(accuracy)
    assert all((line[0] == line[1]) == (line[2] == "yes") for line in lines)


def test_documents_that_the_weights_were_not_made_for_are_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained.directory.best / "tokenizer.json").write_text("{}")
    with pytest.raises(DataUnavailable, match="are not those of the trial"):
        embed(trained.directory, tmp_path)
    assert main([str(trained.directory.path), str(tmp_path)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_missing_weights_are_reported(trained: Trained, tmp_path: Path) -> None:
    (trained.directory.best / "model.safetensors").unlink()
    with pytest.raises(DataUnavailable, match="the weights cannot be loaded as a BERT"):
        embed(trained.directory, tmp_path)
