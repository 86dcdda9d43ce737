"""A split on the training device, and the orders in which it is gone through."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from sweeper.trainers.encodings import Examples

Inputs = dict[str, torch.Tensor]
FIRST_OF_FOUR = 5
"""The major version of transformers."""


def takes_four_dimensions() -> bool:
    """Return whether the installed transformers accepts an attention mask of four dimensions."""
    return int(version("transformers").partition(".")[0]) >= FIRST_OF_FOUR


@dataclass(frozen=True, slots=True)
class Batches:
    """Examples on a device: everything is copied once, so that a step copies nothing and waits for nothing.

    Attributes:
        ids: N x length, whole numbers.
        mask: N x 1 x 1 x length, true where there is text. The model takes four dimensions as they are; from two it
            makes them at every step, which waits for the device. Before transformers 5 it accepts no four: N x 1 x
            length is as good there.
        labels: N.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, examples: Examples, device: torch.device) -> Batches:
        """All examples of a split, on the device."""
        ids = torch.from_numpy(np.asarray(examples.ids, dtype=np.int64)).to(device)
        lengths = torch.from_numpy(np.asarray(examples.lengths, dtype=np.int64)).to(device)
        inside = torch.arange(ids.shape[1], device=device) < lengths[:, None]
        labels = torch.from_numpy(np.asarray(examples.labels, dtype=np.int64)).to(device)
        mask = inside[:, None, None, :] if takes_four_dimensions() else inside[:, None, :]
        return cls(ids, mask, labels)

    def __len__(self) -> int:
        return len(self.labels)

    def shares(self) -> torch.Tensor:
        """How large a part of the examples each class is, shape (classes,); they sum to 1."""
        counts = self.labels.bincount()
        return counts / counts.sum()

    def take(self, rows: torch.Tensor | slice) -> tuple[Inputs, torch.Tensor]:
        """What the model is called with, and the labels."""
        return {"input_ids": self.ids[rows], "attention_mask": self.mask[rows]}, self.labels[rows]

    def in_order(self, size: int) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """All examples once, batch after batch; the last batch is what is left."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def shuffled(self, size: int, *, epochs: int, seed: int, first_step: int) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """All examples once in each epoch, from the batch of `first_step` on.

        The order is a function of seed and epoch alone: who resumes meets the batches that the undisturbed run does.
        """
        steps = math.ceil(len(self) / size)
        for epoch in range(first_step // steps, epochs):
            order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(len(self))).to(self.labels.device)
            skipped = first_step - epoch * steps if epoch == first_step // steps else 0
            for rows in order.split(size)[skipped:]:
                yield self.take(rows)
