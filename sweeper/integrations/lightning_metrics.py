"""What a LightningModule has logged since the last report, under sweeper's names.

`self.log("train_loss", loss, on_step=True, on_epoch=True)` puts up to three names into Lightning's metrics:
`train_loss_step`, `train_loss_epoch`, and `train_loss`, which is one or the other. The value of a step is reported as
`loss/train`, and the mean of an epoch as `loss/train_epoch`, so that no series has both. Of an evaluation, Lightning
shows the mean only, which keeps the metric's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch

from sweeper.integrations.names import Names, is_same_name, own_name

_FORKED = re.compile(r"(.+)_(step|epoch)((?:/dataloader_idx_\d+)?)")


class Logged:
    """The metrics of a Trainer, as far as they were reported."""

    def __init__(self) -> None:
        self._reported: dict[str, torch.Tensor] = {}
        self._forked: set[str] = set()
        self._names = Names()

    def fresh(
        self, metrics: Mapping[str, torch.Tensor], *, evaluation: bool, metric: str = "", others: Sequence[str] = ()
    ) -> dict[str, torch.Tensor]:
        """Return what was logged since the last call, by sweeper's names.

        Args:
            metrics: the Trainer's `callback_metrics`, which keep old values.
            evaluation: whether an evaluation has just ended.
            metric: the sweep's metric, which keeps its name.
            others: further objectives and metrics with bounds, which keep theirs.
        """
        parts = {name: (match[1] + match[3], match[2]) for name in metrics if (match := _FORKED.fullmatch(name))}
        parts = {name: (whole, part) for name, (whole, part) in parts.items() if whole in metrics}
        # Both names of a forked metric have one tensor. A module may also log two such names by itself.
        now = {whole: part for name, (whole, part) in parts.items() if _is_same(metrics[name], metrics[whole])}
        self._forked.update(now)
        values, ranking = {}, (metric, *others)
        for name, value in metrics.items():
            if _is_same(value, self._reported.get(name)):
                continue
            self._reported[name] = value
            whole, part = parts.get(name, (name, ""))
            if part and any(is_same_name(name, one) for one in ranking):
                values[own_name(name, ranking)] = value
            elif part and whole in self._forked:
                if part == "step":
                    values[self._names.recorded(whole, metric=own_name(whole, ranking))] = value
                elif not evaluation:
                    values[f"{self._names.recorded(whole, metric=own_name(whole, ranking))}_epoch"] = value
            elif name not in now or (evaluation and now[name] == "epoch"):
                values[self._names.recorded(name, metric=own_name(name, ranking))] = value
        return values


def _is_same(value: torch.Tensor, other: torch.Tensor | None) -> bool:
    """Return whether two metrics are one tensor. A newly logged value has another address in memory."""
    return other is not None and value.data_ptr() == other.data_ptr()
