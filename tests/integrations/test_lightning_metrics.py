"""Metrics that Lightning shows under several names at once."""

from __future__ import annotations

import torch

from sweeper.integrations.lightning_metrics import Logged


def tensor(value: float) -> torch.Tensor:
    return torch.tensor(value)


def plain(values: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def test_steps_and_epochs_are_two_series() -> None:
    logged, metrics = Logged(), {}
    metrics["train_loss"] = metrics["train_loss_step"] = tensor(3)
    assert plain(logged.fresh(metrics, evaluation=False)) == {"loss/train": 3}
    assert logged.fresh(metrics, evaluation=False) == {}
    metrics["train_loss_step"] = tensor(2)  # the last step of the epoch, which was not reported
    metrics["train_loss"] = metrics["train_loss_epoch"] = tensor(2.5)
    assert plain(logged.fresh(metrics, evaluation=False)) == {"loss/train": 2, "loss/train_epoch": 2.5}


def test_an_epoch_without_a_reported_step_is_known_for_what_it_is() -> None:
    mean = tensor(2.5)
    metrics = {"loss": mean, "loss_epoch": mean}
    assert plain(Logged().fresh(metrics, evaluation=False)) == {"loss/train_epoch": 2.5}


def test_an_evaluation_has_its_mean_under_the_metrics_name() -> None:
    mean, other = tensor(0.5), tensor(0.25)
    metrics = {"val_loss": mean, "val_loss_epoch": mean}
    metrics |= {"val_acc/dataloader_idx_1": other, "val_acc_epoch/dataloader_idx_1": other}
    assert plain(Logged().fresh(metrics, evaluation=True)) == {"loss/test": 0.5, "acc/dataloader_idx_1/test": 0.25}


def test_the_sweeps_metric_keeps_the_name_that_a_module_logs() -> None:
    mean, other = tensor(0.5), tensor(0.25)
    metrics = {"val_loss": mean, "val_loss_epoch": mean, "val_acc": other}
    values = [
        plain(Logged().fresh(metrics, evaluation=True, metric=metric))
        for metric in ("val_acc", "val/loss", "val_loss_epoch", "loss/test")
    ]
    assert values == [
        {"loss/test": 0.5, "val_acc": 0.25},
        {"val/loss": 0.5, "accuracy/test": 0.25},
        {"loss/test": 0.5, "val_loss_epoch": 0.5, "accuracy/test": 0.25},
        {"loss/test": 0.5, "accuracy/test": 0.25},
    ]


def test_names_that_a_module_gave_itself_stay() -> None:
    metrics = {"train_loss": tensor(1), "train_loss_epoch": tensor(2), "time_step": tensor(3), "f1": tensor(4)}
    values = plain(Logged().fresh(metrics, evaluation=False))
    assert values == {"loss/train": 1, "loss_epoch/train": 2, "time_step": 3, "f1": 4}
