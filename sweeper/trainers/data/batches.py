"""The examples of a split on the training device, and iteration over batches of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from sweeper.trainers.data.encodings import Examples

Inputs = dict[str, torch.Tensor]
FIRST_OF_FOUR = 5
"""The major version of transformers."""


def takes_four_dimensions() -> bool:
    """Return whether the installed transformers accepts an attention mask of four dimensions."""
    return int(version("transformers").partition(".")[0]) >= FIRST_OF_FOUR


@dataclass(frozen=True, slots=True)
class Batches:
    """All examples of a split on a device. They are copied once, so that no step copies or waits.

    Attributes:
        ids: token ids, int64, shape (N, length).
        mask: true for tokens of the text, bool, shape (N, 1, 1, length). The model would expand a mask of two
            dimensions at every step, which waits for the device. For transformers before 5, which does not accept four
            dimensions, the shape is (N, 1, length).
        labels: classes, int64, shape (N,).
    """

    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, examples: Examples, device: torch.device) -> Batches:
        """Copy all examples of a split to the device."""
        ids = torch.from_numpy(np.asarray(examples.ids, dtype=np.int64)).to(device)
        lengths = torch.from_numpy(np.asarray(examples.lengths, dtype=np.int64)).to(device)
        inside = torch.arange(ids.shape[1], device=device) < lengths[:, None]
        labels = torch.from_numpy(np.asarray(examples.labels, dtype=np.int64)).to(device)
        mask = inside[:, None, None, :] if takes_four_dimensions() else inside[:, None, :]
        return cls(ids, mask, labels)

    def __len__(self) -> int:
        return len(self.labels)

    def shares(self) -> torch.Tensor:
        """Return the frequency of each class, shape (classes,). They sum to 1."""
        counts = self.labels.bincount()
        return counts / counts.sum()

    def take(self, rows: torch.Tensor | slice) -> tuple[Inputs, torch.Tensor]:
        """Return the arguments for the model and the labels, for the given rows."""
        return {"input_ids": self.ids[rows], "attention_mask": self.mask[rows]}, self.labels[rows]

    def in_order(self, size: int) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Return all examples once, in batches of `size`. The last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def shuffled(self, size: int, *, epochs: int, seed: int, first_step: int) -> Iterator[tuple[Inputs, torch.Tensor]]:
        """Return batches of all examples in random order, once in each epoch, starting at `first_step`.

        The order depends on the seed and the epoch only, so a resumed training gets the same batches as an
        uninterrupted one.
        """
        steps = math.ceil(len(self) / size)
        for epoch in range(first_step // steps, epochs):
            order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(len(self))).to(self.labels.device)
            skipped = first_step - epoch * steps if epoch == first_step // steps else 0
            for rows in order.split(size)[skipped:]:
                yield self.take(rows)
