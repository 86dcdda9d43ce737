"""LightningCLI: fit with the arguments of a module, or with those of a configuration file."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

MODULE = """
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI


class Net(LightningModule):
    def __init__(self, lr: float = 1e-3, width: int = 8, amp: bool = False):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 2)

    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


class Data(LightningDataModule):
    def __init__(self, batch_size: int = 4):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        data = torch.utils.data.TensorDataset(torch.ones(8, 4))
        return torch.utils.data.DataLoader(data, batch_size=self.batch_size)

    val_dataloader = train_dataloader


if __name__ == "__main__":
    LightningCLI(Net, Data, seed_everything_default=7, trainer_defaults={"max_epochs": 1, "accelerator": "cpu"})
"""

CONFIG = """
from lightning.pytorch.cli import LightningCLI
class CLI(LightningCLI):
    def add_arguments_to_parser(self, parser):
        parser.link_arguments("data.width", "model.init_args.width")
CLI()
"""
CONFIG_FILES = {
    "configs/base.yaml": """\
seed_everything: 3
trainer: {max_epochs: 2, logger: null}
model:
  class_path: nets.Net
  init_args: {lr: 1e-3, width: 8}
data: {class_path: nets.Data, init_args: {batch_size: 4}}
optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}
"""
}


def test_a_module_and_a_data_module(init: Init) -> None:
    written = init(MODULE)
    assert written.command == [
        "fit",
        "${args}",
        "--trainer.default_root_dir=${trial:dir}/lightning",
        "--seed_everything=${trial:seed}",
    ]
    expected = """\
  model.lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  model.width: {value: 8}
  model.amp: {value: false}  # to vary it: {values: [false, true]}
  data.batch_size: {value: 4}
  trainer.max_epochs: {value: 1}
  trainer.accelerator: {value: cpu}"""
    assert written.parameters == expected
    assert (written.spec.metric.name, written.spec.metric.goal.value) == ("val_loss", "minimize")
    assert written.spec.seeds == (7,)
    written.run("jsonargparse")
    assert (written.folder / "trial/lightning").is_dir()


def test_a_configuration_file_that_the_user_names(init: Init) -> None:
    written = init(CONFIG, "config=configs/base.yaml", files=CONFIG_FILES)
    assert written.command == [
        "fit",
        "--config=configs/base.yaml",
        "${args}",
        "--trainer.default_root_dir=${trial:dir}/lightning",
        "--seed_everything=${trial:seed}",
    ]
    expected = """\
  trainer.max_epochs: {value: 2}
  model.init_args.lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  data.init_args.batch_size: {value: 4}
  optimizer.init_args.lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}
  # Not in this file, so the script uses its own value:
  #   trainer.logger is null
  #   model.class_path says what is built, and not how
  #   data.class_path says what is built, and not how
  #   optimizer.class_path says what is built, and not how"""
    assert written.parameters == expected


def test_a_model_that_only_a_file_names_is_asked_for(init: Init) -> None:
    written = init("from lightning.pytorch.cli import LightningCLI\nLightningCLI(run=False)\n")
    assert written.command == [
        "${args}",
        "--trainer.default_root_dir=${trial:dir}/lightning",
        "--seed_everything=${trial:seed}",
    ]
    assert written.to_do[0].startswith("the script takes its model from a file: name one, as in `sweeper init")
    assert "left to do: the script takes its model from a file" in written.err


def test_linked_arguments_and_defaults_of_a_subclass(init: Init) -> None:
    written = init("""
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI
class Net(LightningModule):
    def __init__(self, width: int = 8, classes: int = 2): super().__init__()
class Mine(LightningCLI):
    def add_arguments_to_parser(self, parser):
        parser.set_defaults({"model.width": 16})
        parser.link_arguments("data.classes", "model.classes")
Mine(Net, seed_everything_default=False)
""")
    assert written.command == ["fit", "${args}", "--trainer.default_root_dir=${trial:dir}/lightning"]
    assert written.parameters == "  model.width: {value: 16}"
