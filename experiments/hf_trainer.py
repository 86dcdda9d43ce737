"""transformers.Trainer under sweeper: a deep, narrow BERT that learns or fails, depending on its learning rate.

python experiments/hf_trainer.py                    one run, recorded below runs/
sweeper run experiments/hf_trainer.yaml             the sweep
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction, Trainer, TrainingArguments, set_seed

import sweeper
from sweeper.integrations import HuggingFaceCallback

TOKENS, LENGTH, CLASSES = 200, 16, 4


def examples(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Return texts of random tokens. The first half of a text has tokens of its topic, a quarter of the vocabulary."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=random)
    tokens = torch.randint(TOKENS, (count, LENGTH), generator=random)
    topical = tokens // CLASSES * CLASSES + labels.unsqueeze(1)
    tokens[:, 1 : LENGTH // 2] = topical[:, 1 : LENGTH // 2]
    return [{"input_ids": text, "labels": label} for text, label in zip(tokens, labels, strict=True)]


def model() -> BertForSequenceClassification:
    """Return a BERT of twelve layers of 32 units, with random weights."""
    config = BertConfig(
        vocab_size=TOKENS, hidden_size=32, num_hidden_layers=12, num_attention_heads=2, intermediate_size=64
    )
    config.num_labels = CLASSES
    return BertForSequenceClassification(config)


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Return the accuracy, 0 to 1."""
    classes = np.asarray(prediction.predictions).argmax(axis=-1)
    return {"accuracy": float((classes == prediction.label_ids).mean())}


with sweeper.trial(defaults={"lr": 1e-3, "steps": 300}) as trial:  # sweeper: provide parameters, keep the record
    set_seed(trial.seed)  # the weights, because the model is made before the Trainer
    arguments = TrainingArguments(
        output_dir=str(trial.dir / "trainer"),
        save_total_limit=2,
        max_steps=trial.params["steps"],
        learning_rate=trial.params["lr"],
        seed=trial.seed,  # Trainer seeds the order of the data and dropout with it
        warmup_steps=20,
        per_device_train_batch_size=16,
        logging_steps=10,
        eval_strategy="steps",
        eval_steps=50,
        save_strategy="no",  # the callback requests checkpoints when they are needed
        report_to="none",
        disable_tqdm=True,
    )
    callback = HuggingFaceCallback(trial)  # sweeper: watch the model, record what is logged, stop
    trainer = Trainer(
        model(),
        arguments,
        train_dataset=examples(1024, seed=1),
        eval_dataset=examples(256, seed=2),
        compute_metrics=accuracy,
        callbacks=[callback],
    )
    trainer.train(resume_from_checkpoint=callback.resume())  # sweeper: resume an interrupted run
