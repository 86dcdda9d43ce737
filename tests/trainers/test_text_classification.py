"""One trial, through the real trial API: the same for a seed, resumed to the bit, and its best weights usable."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import sweeper
from sweeper.errors import UsageError
from sweeper.record.events import Finished, Metrics, Plan, Resumed, Watching
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import TrialDir, write_json
from sweeper.trainers import text_classification
from sweeper.trainers.settings import DEFAULTS
from sweeper.worker.checkpoint import checkpoints, load
from sweeper.worker.trial import recorder_of

TINY = {
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "max_length": 8,
    "batch_size": 128,
    "epochs": 2,
    "log_every": 3,
    "lr": 1e-2,
    "dataset": "synthetic-topics",
    "tokenizer": "wordpiece",
}
STEPS = 32
"""2 epochs of 2,034 texts, 128 at a time."""


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all trials here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _one_thread(encoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_CACHE", str(encoded))
    torch.set_num_threads(1)


def _directory(path: Path, *, seed: int = 0, every_s: float = 0.0, **params: object) -> TrialDir:
    """A trial as the orchestrator lays it out; with `every_s` at 0 each step is saved."""
    trial = TrialDir(path)
    for attempt in (1, 2):
        trial.attempt(attempt).path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": seed, "params": {**TINY, **params}, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "accuracy/test", "maximize": True, "checkpoint_every_s": every_s})
    return trial


def _run(directory: TrialDir, monkeypatch: pytest.MonkeyPatch, *, attempt: int = 1, stop_at: int = -1) -> None:
    """Train in this process; asked to stop when step `stop_at` reports."""
    monkeypatch.setenv("SWEEPER_TRIAL_DIR", str(directory.path))
    monkeypatch.setenv("SWEEPER_ATTEMPT", str(attempt))
    with sweeper.trial(defaults=DEFAULTS) as trial:
        report = trial.report

        def stopping_report(values: Mapping[str, float | torch.Tensor], *, step: int) -> None:
            report(values, step=step)
            if step == stop_at:
                recorder_of(trial).request_stop()

        monkeypatch.setattr(trial, "report", stopping_report)
        text_classification.train(trial)


def _metrics(directory: TrialDir, attempt: int = 1) -> dict[tuple[int, str], float]:
    events = read_journal(directory.attempt(attempt).events)
    return {(e.step, name): value for e in events if isinstance(e, Metrics) for name, value in e.values.items()}


def _last_state(directory: TrialDir) -> dict[str, Any]:
    return load(checkpoints(directory.checkpoints)[0])


def _same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, encoded: Path) -> TrialDir:
    directory = _directory(tmp_path_factory.mktemp("undisturbed") / "0000")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SWEEPER_CACHE", str(encoded))
        torch.set_num_threads(1)
        _run(directory, monkeypatch)
    return directory


def test_the_documented_metrics_are_reported(undisturbed: TrialDir) -> None:
    metrics = _metrics(undisturbed)
    logged = {0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 31}
    assert {step for step, name in metrics if name == "loss/train"} == logged
    assert {step for step, name in metrics if name == "gradient/norm"} == logged
    assert {step for step, name in metrics if name == "learning_rate"} == logged
    for name in ("accuracy/train", "loss/test", "accuracy/test"):
        assert {step for step, other in metrics if other == name} == {15, 31}
    assert all(0 <= value <= 1 for (_, name), value in metrics.items() if name.startswith("accuracy"))
    assert max(value for (_, name), value in metrics.items() if name == "learning_rate") == 1e-2
    events = list(read_journal(undisturbed.attempt(1).events))
    assert [(e.total_steps, e.peak_lr) for e in events if isinstance(e, Plan)] == [(STEPS, 1e-2)]
    assert [e.outcome for e in events if isinstance(e, Finished)] == ["completed"]
    (watching,) = [e for e in events if isinstance(e, Watching)]
    assert watching.layers[0] == "bert.encoder.layer.0.attention.self.query"
    assert watching.layers[-1] == "classifier"


def test_a_seed_gives_the_same_run_and_another_seed_another(
    undisturbed: TrialDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, other = _directory(tmp_path / "again/0000"), _directory(tmp_path / "other/0000", seed=1)
    _run(again, monkeypatch)
    _run(other, monkeypatch)
    assert _metrics(again) == _metrics(undisturbed)
    assert _same(_last_state(again), _last_state(undisturbed))
    assert _metrics(other) != _metrics(undisturbed)


@pytest.mark.parametrize("stop_at", [0, 6, 15, 18])
def test_a_resumed_run_is_the_undisturbed_one(
    undisturbed: TrialDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    directory = _directory(tmp_path / "0000", every_s=3600.0)
    _run(directory, monkeypatch, stop_at=stop_at)
    assert max(step for step, _ in _metrics(directory)) == stop_at
    events = read_journal(directory.attempt(1).events)
    assert [e.outcome for e in events if isinstance(e, Finished)] == ["stopped"]

    write_json(directory.facts, {**_facts(directory), "checkpoint_every_s": 0.0})
    _run(directory, monkeypatch, attempt=2)
    resumed = _metrics(directory, attempt=2)
    assert [e.step for e in read_journal(directory.attempt(2).events) if isinstance(e, Resumed)] == [stop_at]
    assert min(step for step, _ in resumed) > stop_at
    assert {**_metrics(directory), **resumed} == _metrics(undisturbed)
    assert _same(_last_state(directory), _last_state(undisturbed))


def _facts(directory: TrialDir) -> dict[str, Any]:
    from sweeper.record.storage.layout import read_json

    return dict(read_json(directory.facts))


def test_the_best_weights_load_and_score_as_reported(undisturbed: TrialDir) -> None:
    from tokenizers import Tokenizer
    from transformers import BertForSequenceClassification

    from sweeper.trainers.data import synthetic

    best = undisturbed.path / "best"
    model = BertForSequenceClassification.from_pretrained(best).eval()
    tokenizer = Tokenizer.from_file(str(best / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    test = synthetic.load().test
    encoded = tokenizer.encode_batch(list(test.texts))
    with torch.inference_mode():
        mask = torch.tensor([one.attention_mask for one in encoded])
        logits = model(input_ids=torch.tensor([one.ids for one in encoded]), attention_mask=mask).logits
    accuracy = (logits.argmax(dim=-1) == torch.tensor(test.labels)).double().mean().item()
    reported = max(value for (_, name), value in _metrics(undisturbed).items() if name == "accuracy/test")
    assert accuracy == pytest.approx(reported, abs=1.5 / len(test.labels))
    assert model.config.id2label[0] == "topic-a"
    assert not list(undisturbed.path.glob(".best*"))


def test_it_evaluates_between_epochs_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = _directory(tmp_path / "0000", every_s=3600.0, eval_every=5, epochs=1)
    _run(directory, monkeypatch)
    assert sorted(step for step, name in _metrics(directory) if name == "accuracy/test") == [4, 9, 14, 15]


def test_bf16_trains_on_a_cpu_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = _directory(tmp_path / "0000", every_s=3600.0, precision="bf16", epochs=1)
    _run(directory, monkeypatch)
    assert 0 < _metrics(directory)[15, "loss/test"] < 2


def test_pretrained_weights_are_where_training_starts(
    undisturbed: TrialDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = undisturbed.path / "best"
    directory = _directory(
        tmp_path / "0000", every_s=3600.0, pretrained=str(best), tokenizer=str(best), lr=1e-9, epochs=1
    )
    _run(directory, monkeypatch)
    reported = max(value for (_, name), value in _metrics(undisturbed).items() if name == "accuracy/test")
    assert _metrics(directory)[15, "accuracy/test"] == pytest.approx(reported, abs=2e-3)


def test_settings_that_cannot_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = _directory(tmp_path / "0000", hidden_size=9)
    with pytest.raises(UsageError, match="hidden_size: expected a multiple of num_attention_heads"):
        _run(directory, monkeypatch)


def test_a_users_mistake_ends_without_a_traceback(tmp_path: Path, encoded: Path) -> None:
    directory = _directory(tmp_path / "0000", lr=-1)
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.trainers.text_classification"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SWEEPER_TRIAL_DIR": str(directory.path), "SWEEPER_CACHE": str(encoded)},
    )
    assert done.returncode == 2
    assert done.stderr == "lr: expected a number above 0, got -1\n"
