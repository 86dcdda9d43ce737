"""Lightning under sweeper: a deep network that learns or fails, depending on its activation.

python experiments/lightning_module.py              one run, recorded below runs/
sweeper run experiments/lightning_module.yaml       the sweep
"""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import sweeper
from sweeper.integrations import LightningCallback

DEPTH, WIDTH, CLASSES, BATCH = 12, 32, 4, 32
ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
DEFAULTS = {"activation": "tanh", "lr": 1e-3, "epochs": 10}


def examples(count: int, seed: int) -> TensorDataset:
    """Return random points, and for each the nearest of four fixed directions."""
    points = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    directions = torch.randn(WIDTH, CLASSES, generator=torch.Generator().manual_seed(0))
    return TensorDataset(points, (points @ directions).argmax(dim=1))


class Deep(pl.LightningModule):
    """A classifier of many narrow layers, each followed by the activation."""

    def __init__(self, activation: str, lr: float) -> None:
        super().__init__()
        self.lr = lr
        linear = [nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)]
        for layer in linear:
            nn.init.orthogonal_(layer.weight)
        layers = [nn.Sequential(layer, ACTIVATIONS[activation]()) for layer in linear]
        self.net = nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss of a batch."""
        loss = cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)  # recorded as loss/train
        return loss

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Log the accuracy, 0 to 1."""
        self.log("val_acc", (self.net(batch[0]).argmax(dim=1) == batch[1]).float().mean())  # recorded as accuracy/test

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


if __name__ == "__main__":
    with sweeper.trial(defaults=DEFAULTS) as trial:  # sweeper: provide parameters, keep the record
        pl.seed_everything(trial.seed)
        callback = LightningCallback(trial)  # sweeper: watch the model, record what is logged, stop
        trainer = pl.Trainer(
            max_epochs=trial.params["epochs"],
            gradient_clip_val=1.0,
            log_every_n_steps=10,
            callbacks=[callback],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        trainer.fit(
            Deep(trial.params["activation"], trial.params["lr"]),
            DataLoader(examples(2048, seed=1), batch_size=BATCH, shuffle=True),
            DataLoader(examples(512, seed=2), batch_size=512),
            ckpt_path=callback.resume(),  # sweeper: resume an interrupted run
        )
