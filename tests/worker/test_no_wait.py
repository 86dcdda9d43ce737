"""What the watch computes on a device never waits for it: on tensors without data, a value that is asked for raises.

A meta tensor stands for one on a device whose values have not arrived. It cannot show what a kernel of CUDA does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from sweeper.worker.activations import measured
from sweeper.worker.attention import AttentionLogits
from sweeper.worker.losses import FIELDS, Losses


@pytest.mark.parametrize("ask", [torch.Tensor.item, bool, lambda index: torch.empty(3, device="meta")[index]])
def test_a_value_that_has_not_arrived_cannot_be_asked_for(ask: Callable[[torch.Tensor], object]) -> None:
    """Without this the tests below would hold nothing."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask(torch.zeros((), device="meta", dtype=torch.long))


def test_activations_are_measured_without_waiting() -> None:
    statistics = measured([torch.empty(64, width, device="meta", dtype=torch.bfloat16) for width in (32, 8, 32)])
    assert statistics.device.type == "meta"
    assert statistics.shape == (3, 5)


@pytest.mark.parametrize("kind", ["classes", "binary", "squares", "logarithms"])
def test_losses_are_looked_at_without_waiting(kind: str) -> None:
    losses = Losses()
    given, whole = torch.empty(64, 10, device="meta"), torch.empty(64, device="meta", dtype=torch.long)
    losses.open()
    match kind:
        case "classes":
            functional.cross_entropy(given, whole)
        case "logarithms":
            functional.nll_loss(given, whole)
        case "binary":
            functional.binary_cross_entropy_with_logits(given, torch.empty(64, 10, device="meta"))
        case "squares":
            functional.mse_loss(given, torch.empty(64, 10, device="meta"))
    seen = losses.take()
    assert seen is not None
    assert seen.device.type == "meta"
    assert seen.shape == (len(FIELDS),)


def test_attention_is_measured_without_waiting() -> None:
    attention = AttentionLogits()
    query = torch.empty(2, 4, 16, 8, device="meta")
    attention.open()
    functional.scaled_dot_product_attention(query, query, query)
    seen = attention.take()
    assert seen is not None
    assert seen.device.type == "meta"
    assert attention.take() is None
