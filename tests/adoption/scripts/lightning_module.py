"""A LightningModule."""

import sys

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

# sweeper: import sweeper
# sweeper: from sweeper.integrations import LightningCallback
# sweeper: trial = sweeper.start()


class Module(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch, _):
        x, y = batch
        loss = (self.net(x) - y).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val_loss", (self.net(x) - y).square().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


L.seed_everything(0)
x = torch.randn(128, 8)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)
callbacks = []
# sweeper: callbacks = [LightningCallback(trial)]
trainer = L.Trainer(
    max_steps=int(sys.argv[2]) if len(sys.argv) > 2 else 40,
    default_root_dir=sys.argv[1],
    accelerator="cpu",
    log_every_n_steps=5,
    enable_progress_bar=False,
    callbacks=callbacks,
)
trainer.fit(Module(), loader, loader)
