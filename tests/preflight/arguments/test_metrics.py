"""The metrics that a script logs or prints, as its source shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeper.preflight.arguments import Arguments, arguments_of


def read(tmp_path: Path, text: str) -> Arguments:
    (tmp_path / "train.py").write_text(text)
    return arguments_of(tmp_path / "train.py", {})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import wandb\nwandb.log({'train/loss': 1, 'val/acc': 2, 'epoch': 3, 'lr': 4})", ("train/loss", "val/acc")),
        ("run.log(dict(val_loss=1))", ("val_loss",)),
        ("writer.add_scalar('loss/test', x, step)", ("loss/test",)),
        ("writer.add_scalars('loss', {'train': 1, 'test': 2}, step)", ("loss/train", "loss/test")),
        ("class Net:\n    def validation_step(self):\n        self.log('val_loss', 1)", ("val_loss",)),
        (
            "class Net:\n    def step(self):\n        self.log_dict({'val_loss': 1, 'val_acc': 2})",
            ("val_loss", "val_acc"),
        ),
        ("mlflow.log_metric('f1', 1)\nmlflow.log_metrics({'auc': 1})", ("f1", "auc")),
        ("accelerator.log({'eval_accuracy': 1}, step=1)", ("eval_accuracy",)),
        ("import trackio\nm = {'a': 1}\nm['b'] = 2\ntrackio.log(m)", ("a", "b")),
        ("base = {'a': 1}\nrun.log({**base, 'b': 1})", ("a", "b")),
        ("for split in ('train', 'val'):\n    run.log({f'{split}/loss': 1})", ("train/loss", "val/loss")),
        ("run.log({f'{unknown}/loss': 1})", ()),
        ("import math\nmath.log('x', 2)\nlogger.log(logging.INFO, 'text')\nx.log(y)", ()),
        (
            (
                "from transformers import Trainer\ndef compute(p):\n    return {'accuracy': 1, 'f1': 2}\n"
                "Trainer(eval_dataset=d, compute_metrics=compute)"
            ),
            ("eval_loss", "eval_accuracy", "eval_f1"),
        ),
        ("from transformers import Trainer\nTrainer(train_dataset=d)", ()),
        (
            (
                "from sweeper.integrations import LightningCallback\nclass Net:\n    def step(self):\n"
                "        self.log('val_acc', 1)\n        self.log('loss', 1)"
            ),
            ("accuracy/test", "loss/train"),
        ),
    ],
)
def test_names_that_are_logged(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert read(tmp_path, text).metrics == names


@pytest.mark.parametrize(
    ("text", "name", "printed", "value"),
    [
        ("print(f'epoch {e} | test loss: {loss:.4f}')", "loss/test", "epoch 1 | test loss: 0.2500", "0.2500"),
        (
            "print('Test set: Accuracy: {}/{} ({:.0f}%)\\n'.format(a, b, c))",
            "accuracy/test",
            "Test set: Accuracy: 5/6",
            "5",
        ),
        ("print('val acc = %.3f at step %d' % (a, b))", "accuracy/test", "val acc = 0.250 at step 3", "0.250"),
        ("print('loss', loss.item())", "loss/train", "loss 1e-05", "1e-05"),
        ("logger.info(f'[{e}] perplexity ({p})')", "perplexity/train", "[3] perplexity (2.5)", "2.5"),
        ("print(f'train loss {a}')\nprint(f'eval error {b}')", "error/test", "eval error 2", "2"),
    ],
)
def test_a_metric_that_is_printed_is_matched_in_the_output(
    tmp_path: Path, text: str, name: str, printed: str, value: str
) -> None:
    found = read(tmp_path, text).printed
    assert found is not None
    assert found[0] == name
    match = re.search(found[1], printed)
    assert match is not None
    assert match[1] == value


@pytest.mark.parametrize("text", ["print('loss')", "print(f'time: {t}')", "print()", "print('a', 'loss')"])
def test_other_output_is_no_metric(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).printed is None
