"""Names of metrics, as libraries have them and as the record has them; and the names that are imported."""

from __future__ import annotations

import sys

import pytest

from sweeper.integrations.names import Names, metric_name, own_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss", "loss/train"),
        ("train_loss", "loss/train"),
        ("eval_loss", "loss/test"),
        ("val/loss", "loss/test"),
        ("valid_acc", "accuracy/test"),
        ("eval_accuracy", "accuracy/test"),
        ("test_f1_macro", "f1_macro/test"),
        ("loss/train", "loss/train"),
        ("accuracy/val", "accuracy/test"),
        ("grad_norm", "gradient/norm"),
        ("lr", "learning_rate"),
        ("learning_rate", "learning_rate"),
        ("train_loss_epoch", "loss_epoch/train"),
        ("perplexity", "perplexity"),
        ("training_wheels", "training_wheels"),
        ("value_loss", "value_loss"),
    ],
)
def test_names_follow_one_convention(name: str, expected: str) -> None:
    assert metric_name(name) == expected


def test_each_of_several_objectives_keeps_its_name() -> None:
    names, ranking, logged = Names(), ["eval_loss", "eval/wer"], ["eval_loss", "eval_wer", "eval_f1"]
    recorded = [names.recorded(name, metric=own_name(name, ranking)) for name in logged]
    assert recorded == ["eval_loss", "eval/wer", "f1/test"]


@pytest.mark.parametrize(
    ("metric", "logged", "recorded"),
    [
        ("loss/test", ["eval_loss", "test_loss"], ["loss/test", "test_loss"]),
        ("loss/test", ["val/loss", "loss/valid", "val/loss"], ["loss/test", "loss/valid", "loss/test"]),
        ("loss/test", ["test_loss"], ["loss/test"]),
        ("val/acc", ["val_acc", "val_loss", "acc/val"], ["val/acc", "loss/test", "accuracy/test"]),
        ("eval_loss", ["loss", "eval_loss"], ["loss/train", "eval_loss"]),
        ("loss", ["loss", "eval_loss"], ["loss", "loss/test"]),
        ("learning_rate", ["lr"], ["learning_rate"]),
    ],
)
def test_the_sweeps_metric_keeps_its_name_and_no_two_names_become_one(
    metric: str, logged: list[str], recorded: list[str]
) -> None:
    names = Names()
    assert [names.recorded(name, metric=metric) for name in logged] == recorded


def test_test_is_kept_apart_from_the_first_where_another_set_is_evaluated() -> None:
    names = Names()
    found = [names.recorded(name, metric="loss/test", evaluates=True) for name in ("test_loss", "eval_loss", "f1/test")]
    assert found == ["test_loss", "loss/test", "f1/test"]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "sweeper.integrations.lightning", raising=False)
    with pytest.raises(ImportError, match=r'needs lightning.pytorch, .* Run: pip install "sweeper\[lightning\]"'):
        from sweeper.integrations import LightningCallback  # noqa: F401


def test_any_other_name_is_unknown() -> None:
    with pytest.raises(ImportError, match="cannot import name 'KerasCallback'"):
        from sweeper.integrations import KerasCallback  # noqa: F401
