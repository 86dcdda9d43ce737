"""Metrics that Lightning passes on to several loggers are recorded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.auto.scripts import need, ran

TRAINER = """
    import logging
    import torch
    from {lightning} import LightningModule, Trainer, Callback
    from {lightning}.loggers import CSVLogger, TensorBoardLogger

    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, index):
            loss = self.layer(batch[0]).square().mean()
            self.log("train_loss", loss)
            self.logger.log_metrics({{"by_hand": 2.0}}, step=index)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Sweepers(Callback):
        pass

    Sweepers.__module__ = {module!r}
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), batch_size=2)
    trainer = Trainer(
        max_epochs=1, log_every_n_steps=1, accelerator="cpu", callbacks=[Sweepers()], enable_progress_bar=False,
        logger=[CSVLogger("logs"), TensorBoardLogger("logs")],
    )
    trainer.fit(Model(), data)
"""


def test_loggers_of_fabric_are_read_once(tmp_path: Path) -> None:
    need("lightning", "tensorboard")
    script = """
        from lightning.fabric import Fabric
        from lightning.fabric.loggers import CSVLogger, Logger, TensorBoardLogger

        class Mine(Logger):
            name = version = "mine"

            def log_hyperparams(self, params):
                pass

            def log_metrics(self, metrics, step=None):
                self.writer.log_metrics(metrics, step)

        mine = Mine()
        mine.writer = TensorBoardLogger("mine")
        csv = CSVLogger("logs")
        fabric = Fabric(accelerator="cpu", loggers=[TensorBoardLogger("logs"), csv, mine])
        fabric.log("loss", 1.5, step=0)
        fabric.log_dict({"loss": 2.5, "acc": 0.5}, step=1)
        csv.log_metrics({"direct": 3.0}, step=2)
        mine.log_metrics(metrics={"own": 4.0})
        csv.save()
        print(sorted(csv.experiment.metrics_keys))
    """
    done = ran(tmp_path, script)
    assert done.logged == [
        ("Fabric.log", {"loss": 1.5}, 0),
        ("Fabric.log", {"loss": 2.5, "acc": 0.5}, 1),
        ("CSVLogger.log_metrics", {"direct": 3.0}, 2),
        ("Mine.log_metrics", {"own": 4.0}, None),
    ]
    assert done.notes == []


@pytest.mark.parametrize(
    ("lightning", "module"),
    [
        ("lightning.pytorch", "__main__"),
        ("lightning.pytorch", "sweeper.integrations.lightning"),
        ("pytorch_lightning", "__main__"),
    ],
)
def test_metrics_of_a_trainer_are_read_once_or_left_to_a_callback_of_sweeper(
    tmp_path: Path, lightning: str, module: str
) -> None:
    need(lightning.partition(".")[0], "tensorboard")
    done = ran(tmp_path, TRAINER.format(lightning=lightning, module=module))
    by_hand = [("CSVLogger.log_metrics", {"by_hand": 2.0}, step) for step in range(2)]
    assert [entry for entry in done.logged if entry[0] != "LightningModule.log"] == by_hand
    from_module = [values for source, values, _ in done.logged if source == "LightningModule.log"]
    assert [list(values) for values in from_module] == ([["train_loss"]] * 2 if module == "__main__" else [])
    assert done.notes == []
