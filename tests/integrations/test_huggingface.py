"""The callback in a real `transformers.Trainer`."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

import sweeper
from sweeper.errors import CheckpointError
from sweeper.integrations import HuggingFaceCallback
from sweeper.integrations.huggingface import NO_SKIP, OTHER_SEED
from sweeper.record.checkpoints import saved_checkpoints
from sweeper.record.events import Checkpointed, Finished, Metrics, Noted, Observation, Plan, Resumed
from sweeper.record.storage.layout import read_json, write_json
from sweeper.worker import opening
from tests.integrations.derived import Child, keep_healthy
from tests.integrations.record import Record, Tiny, examples, norms_of

ROWS = [{"x": point, "labels": label} for point, label in examples()]
EPOCH = len(ROWS) // 4


class Classifier(Tiny):
    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> Any:  # type: ignore[override]
        logits = super().forward(x)
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


class ByHand(TrainerCallback):
    """Looks at the gradients that the optimizer is about to be given, and asks for a stop after some step."""

    def __init__(self, stop_at: int | None) -> None:
        self.stop_at = stop_at
        self.norms: list[dict[str, float]] = []

    def on_pre_optimizer_step(self, *_: Any, **kwargs: Any) -> None:
        self.norms.append(norms_of(kwargs["model"]))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def train(
    record: Record,
    *,
    stop_at: int | None = None,
    every: int = 1,
    resume: str | None = None,
    sets: tuple[str, ...] = (),
    **options: Any,
) -> tuple[Classifier, ByHand]:
    """One attempt, resumed from the one before, or from a checkpoint of one's own."""
    record.next_attempt()
    torch.manual_seed(0)
    model, by_hand = Classifier(), ByHand(stop_at)
    with sweeper.trial() as trial:
        callback = HuggingFaceCallback(trial, every=every)
        arguments = {
            "output_dir": str(trial.dir / "trainer"),
            "per_device_train_batch_size": 4,
            "num_train_epochs": 3,
            "learning_rate": 0.01,
            "logging_steps": 2,
            "save_strategy": "no",
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **options,
        }
        trainer = Trainer(
            model,
            TrainingArguments(**arguments),
            train_dataset=ROWS,
            eval_dataset=ROWS[:8],
            compute_metrics=accuracy,
            callbacks=[callback, by_hand],
        )
        trainer.train(resume_from_checkpoint=resume or callback.resume())
        for prefix in sets:
            trainer.evaluate(metric_key_prefix=prefix)
        rows: Any = ROWS[8:16]
        trainer.predict(rows)
    return model, by_hand


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("bf16", [False, True])
def test_observations_are_the_gradients_that_the_optimizer_is_given(
    record: Record, accumulation: int, bf16: bool
) -> None:
    _, by_hand = train(record, every=2, gradient_accumulation_steps=accumulation, bf16=bf16, max_grad_norm=0.1)
    steps = 3 * EPOCH // accumulation
    (plan,) = record.events(Plan)
    assert (plan.total_steps, plan.peak_lr) == (steps, 0.01)
    assert len(by_hand.norms) == steps
    norms = record.gradient_norms()
    assert list(norms) == list(range(0, steps, 2))
    for step, tensors in norms.items():
        assert tensors == pytest.approx(by_hand.norms[step], rel=1e-4)
    assert all(observation.clipped for observation in record.events(Observation))
    assert record.events(Finished)[0].outcome == "completed"


def test_metrics_have_our_names_and_steps_from_zero(record: Record) -> None:
    train(record, eval_strategy="epoch")
    metrics = record.events(Metrics)
    trained = [event for event in metrics if "loss/train" in event.values]
    evaluated = [event for event in metrics if "loss/test" in event.values]
    assert [event.step for event in trained] == list(range(1, 3 * EPOCH, 2))
    assert [event.step for event in evaluated] == [EPOCH - 1, 2 * EPOCH - 1, 3 * EPOCH - 1]
    assert {name for event in trained for name in event.values} == {"loss/train", "gradient/norm", "learning_rate"}
    assert {name for event in evaluated for name in event.values} == {"loss/test", "accuracy/test"}


@pytest.mark.parametrize(
    ("metric", "decides", "apart"),
    [
        ("loss/test", "loss/test", "test_loss"),
        ("eval_loss", "eval_loss", "test_loss"),
        ("eval/loss", "eval/loss", "test_loss"),
        ("test_loss", "loss/test", "test_loss"),
    ],
)
def test_what_is_evaluated_at_the_end_has_a_name_of_its_own(
    record: Record, metric: str, decides: str, apart: str
) -> None:
    record.rank_by(metric)
    train(record, eval_strategy="epoch", sets=("test",))
    counts = Counter(name for event in record.events(Metrics) for name in event.values)
    assert (counts[decides], counts[apart]) == (3, 1)
    assert {name for name in counts if "loss" in name} == {"loss/train", decides, apart}


@pytest.mark.parametrize(
    ("sets", "names"),
    [(("test",), {"loss/test"}), (("eval", "test"), {"loss/test", "test_loss"}), ((), set())],
    ids=["test alone", "both", "predict alone"],
)
def test_without_an_evaluation_during_training_the_first_set_is_the_one_that_decides(
    record: Record, sets: tuple[str, ...], names: set[str]
) -> None:
    record.rank_by("loss/test")
    train(record, sets=sets)
    found = {name for event in record.events(Metrics) for name in event.values if "loss" in name}
    assert found - {"loss/train"} == names


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=["plain", "accumulation"])
def test_a_stopped_and_resumed_run_ends_where_an_undisturbed_one_does(record: Record, options: dict[str, Any]) -> None:
    if options and transformers.__version__.startswith("4."):
        pytest.skip("Trainer of transformers 4 resumes with other batches, also without sweeper")
    undisturbed, _ = train(Record(record.directory.path / "undisturbed"), **options)
    train(record, stop_at=4, **options)
    assert record.events(Finished)[0].outcome == "stopped"
    (checkpointed,) = record.events(Checkpointed)
    assert checkpointed.step == 4
    resumed, _ = train(record, **options)
    assert [event.step for event in record.events(Resumed)] == [4]
    assert record.events(Observation)[0].step == 5
    assert record.events(Finished)[0].outcome == "completed"
    total = record.events(Plan)[0].total_steps
    assert [event.step for event in record.standing(Observation)] == list(range(total))
    for one, other in zip(undisturbed.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_stop_within_an_epoch_is_not_evaluated_as_if_the_epoch_were_over(record: Record) -> None:
    train(record, stop_at=EPOCH + 1, eval_strategy="epoch", save_strategy="epoch")
    assert [event.step for event in record.events(Metrics) if "loss/test" in event.values] == [EPOCH - 1]
    assert [event.step for event in record.events(Checkpointed)] == [EPOCH - 1, EPOCH + 1]


def test_a_stop_at_the_end_of_an_epoch_is_evaluated(record: Record) -> None:
    train(record, stop_at=EPOCH - 1, eval_strategy="epoch")
    assert [event.step for event in record.events(Metrics) if "loss/test" in event.values] == [EPOCH - 1]


def test_a_stop_is_saved_where_only_the_best_would_be(record: Record) -> None:
    best: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "best",
        "metric_for_best_model": "loss",
    }
    train(record, stop_at=9, learning_rate=0.0, **best)  # never better than the first
    assert record.events(Checkpointed)[-1].step == 9


def test_a_missing_checkpoint_is_reported(record: Record) -> None:
    train(record, stop_at=3)
    shutil.rmtree(record.directory.path / "trainer")
    with pytest.raises(CheckpointError, match="checkpoint-4: the checkpoint after step 3 does not exist"):
        train(record)


@pytest.mark.parametrize("given", [HuggingFaceCallback, HuggingFaceCallback()], ids=["class", "instance"])
def test_a_callback_opens_its_own_trial(record: Record, given: Any) -> None:
    record.next_attempt()
    arguments = TrainingArguments("out", max_steps=3, save_strategy="no", use_cpu=True, report_to="none")
    trainer = Trainer(Classifier(), arguments, train_dataset=ROWS, callbacks=[given])
    assert opening.current() is None
    trainer.train()
    assert len(record.events(Observation)) == 1
    assert record.events(Finished) == []
    sweeper.start().finish()
    assert record.events(Finished)[0].outcome == "completed"


def test_training_cannot_resume_from_weights_only(record: Record) -> None:
    train(record, stop_at=3, save_only_model=True)
    assert record.events(Checkpointed) == []


def test_a_checkpoint_is_written_when_the_sweep_wants_one(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([False, False, True])
    monkeypatch.setattr(sweeper.Trial, "should_save", property(lambda _: next(asked, False)))
    train(record)
    assert [event.step for event in record.events(Checkpointed)] == [2]


def test_steps_are_counted_on_from_a_checkpoint_of_ones_own(record: Record) -> None:
    train(record, stop_at=4)
    shutil.copytree(record.directory.path / "trainer" / "checkpoint-5", "mine")
    other = Record(record.directory.path / "other")
    train(other, resume="mine")
    assert [event.step for event in other.events(Observation)] == list(range(5, 3 * EPOCH))


def test_the_record_says_that_trainer_skips_no_step(record: Record) -> None:
    facts = record.directory.facts
    write_json(facts, {**read_json(facts), "on_spike": "skip"})
    train(record)
    assert NO_SKIP in [event.text for event in record.events(Noted)]


@pytest.mark.parametrize(("options", "is_said"), [({}, True), ({"seed": 7}, False)])
def test_the_record_says_that_trainer_has_another_seed(record: Record, options: dict[str, Any], is_said: bool) -> None:
    train(record, **options)
    said = OTHER_SEED.format(trial=7, own=42)
    assert (said in [event.text for event in record.events(Noted)]) == is_said
    assert "--seed=${trial:seed}" in said


def test_kept_checkpoints_survive_the_limit_of_trainer(record: Record) -> None:
    keep_healthy(record, 2)
    train(record, save_strategy="steps", save_steps=2, save_total_limit=1)
    saved = saved_checkpoints(record.directory)
    steps = [one.step for one in saved]
    assert len(steps) == 4
    assert steps[:2] == [3 * EPOCH - 1, 3 * EPOCH - 3]
    assert [one.points_to for one in saved] == [f"kept/step-{step:09d}" for step in steps]
    assert len(list((record.directory.path / "trainer").glob("checkpoint-*"))) == 1
    assert len(list((record.directory.path / "kept").iterdir())) == 4
    assert all((record.directory.path / one.points_to / "optimizer.pt").exists() for one in saved)


def test_without_keep_healthy_only_what_trainer_has_is_offered(record: Record) -> None:
    train(record, save_strategy="steps", save_steps=2, save_total_limit=1)
    assert [one.step for one in saved_checkpoints(record.directory)] == [3 * EPOCH - 1]
    assert not (record.directory.path / "kept").exists()


def rates(record: Record) -> dict[int, float]:
    events = [event for event in record.events(Metrics) if "learning_rate" in event.values]
    return {event.step: event.values["learning_rate"] for event in events}


def test_a_derived_trial_goes_on_from_the_checkpoint_with_its_own_rate(record: Record) -> None:
    keep_healthy(record, 8)
    train(record, save_strategy="steps", save_steps=2, logging_steps=1)
    before = rates(record)
    child = Child(record, step=6, lr_factor=0.25, changes={"lr": 0.0025})
    train(child, learning_rate=0.0025, logging_steps=1, save_strategy="steps", save_steps=2)
    assert [event.step for event in child.events(Resumed)] == [child.derived.step]
    after = rates(child)
    assert list(after) == list(range(child.derived.step + 1, 3 * EPOCH))
    assert after == pytest.approx({step: rate * 0.25 for step, rate in before.items() if step in after}, rel=1e-4)


def test_the_second_attempt_of_a_derived_trial_changes_nothing_again(record: Record) -> None:
    keep_healthy(record, 8)
    train(record, save_strategy="steps", save_steps=2, logging_steps=1)
    before = rates(record)
    child = Child(record, step=4, lr_factor=0.5)
    train(child, learning_rate=0.005, logging_steps=1, stop_at=8)
    train(child, learning_rate=0.005, logging_steps=1)
    assert [event.step for event in child.events(Resumed)] == [8]
    after = rates(child)
    assert after == pytest.approx({step: rate * 0.5 for step, rate in before.items() if step > 8}, rel=1e-4)


def test_what_two_trials_share_is_not_written_to(record: Record) -> None:
    """Trainer opens the files of a checkpoint that exists, and writes into them."""
    train(record, save_strategy="steps", save_steps=4)
    child = Child(record, step=16)
    shared = child.directory.path / "trainer/checkpoint-16/optimizer.pt"
    before = shared.read_bytes()
    shutil.rmtree(record.directory.checkpoints)  # so that it begins at the start, and saves the same steps
    train(record, save_strategy="steps", save_steps=4, learning_rate=0.5)
    assert (record.directory.path / "trainer/checkpoint-16/optimizer.pt").read_bytes() != before
    assert shared.read_bytes() == before
