"""The watch never waits for a device: on tensors without data, reading a value raises.

A meta tensor stands for a tensor on a device without values on the host. It does not show the behaviour of CUDA
kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from sweeper.worker.watch.forward.activations import measured
from sweeper.worker.watch.forward.attention import AttentionLogits
from sweeper.worker.watch.forward.losses import FIELDS, LossCalls


@pytest.mark.parametrize("ask", [torch.Tensor.item, bool, lambda index: torch.empty(3, device="meta")[index]])
def test_reading_a_value_of_a_meta_tensor_raises(ask: Callable[[torch.Tensor], object]) -> None:
    """Without this, the tests below would prove nothing."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask(torch.zeros((), device="meta", dtype=torch.long))


def test_activations_are_measured_without_waiting() -> None:
    statistics = measured([torch.empty(64, width, device="meta", dtype=torch.bfloat16) for width in (32, 8, 32)])
    assert statistics.device.type == "meta"
    assert statistics.shape == (3, 5)


@pytest.mark.parametrize("kind", ["classes", "binary", "squares", "logarithms"])
def test_losses_are_checked_without_waiting(kind: str) -> None:
    losses = LossCalls()
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
