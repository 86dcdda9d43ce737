"""Trainer's metrics are recorded once, although its callbacks log them again under other names."""

from __future__ import annotations

from pathlib import Path

from tests.auto.scripts import need, ran

TRAINER = """
    import torch
    import wandb
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x, labels):
            return {{"loss": (self.layer(x) - labels).square().mean()}}

    class Mine(TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            wandb.log({{"mine": 1.0}})

    class Sweepers(TrainerCallback):
        pass

    Sweepers.__module__ = {module!r}
    data = [{{"x": torch.ones(2), "labels": torch.ones(1)}} for _ in range(4)]
    arguments = TrainingArguments(
        "out", max_steps=2, logging_steps=1, report_to=["wandb", "tensorboard"], use_cpu=True, disable_tqdm=True
    )
    trainer = Trainer(Model(), arguments, train_dataset=data, callbacks=[Mine(), Sweepers()])
    trainer.train()
    trainer.log({{"extra": 0.5}})
"""


def test_metrics_are_recorded_once_with_their_own_names(tmp_path: Path) -> None:
    need("accelerate", "wandb", "tensorboard")
    done = ran(tmp_path, TRAINER.format(module="__main__"))
    from_trainer = [(values, step) for source, values, step in done.logged if source == "Trainer.log"]
    assert [step for _, step in from_trainer] == [1, 2, 2, 2]
    assert {"loss", "grad_norm", "learning_rate"} <= from_trainer[0][0].keys()
    assert from_trainer[-1][0]["extra"] == 0.5
    others = [entry for entry in done.logged if entry[0] != "Trainer.log"]
    assert others == [("wandb.log", {"mine": 1.0}, None)] * 4  # by the user's own callback
    assert done.notes == []


def test_they_are_left_to_a_callback_of_sweeper(tmp_path: Path) -> None:
    need("accelerate", "wandb", "tensorboard")
    done = ran(tmp_path, TRAINER.format(module="sweeper.integrations.huggingface"))
    assert {source for source, _, _ in done.logged} == {"wandb.log"}
    assert all(values == {"mine": 1.0} for _, values, _ in done.logged)
