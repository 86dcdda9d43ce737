"""The training loss is recognised by its name."""

from __future__ import annotations

import pytest

from sweeper.rules.signals.metric_names import training_loss


@pytest.mark.parametrize(
    ("names", "loss"),
    [
        (["loss/backward"], "loss/backward"),
        (["loss/backward", "objective"], "objective"),
        (["loss/backward", "train/total_ce_loss"], "train/total_ce_loss"),
        (["loss/backward", "val_loss", "policy_loss"], "loss/backward"),
        (["loss/backward/optD", "loss/backward/optG"], None),
        (["loss/backward/encoder", "loss/train"], "loss/train"),
    ],
)
def test_the_loss_of_backward_counts_only_if_the_script_reports_no_other(names: list[str], loss: str | None) -> None:
    assert training_loss(names) == loss
    assert training_loss(names[::-1]) == loss
