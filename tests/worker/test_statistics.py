"""Statistics against a NumPy oracle in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sweeper.record.profile import STATISTICS
from sweeper.worker.statistics import gradient_statistics, update_statistics


def oracle(gradient: torch.Tensor) -> list[float]:
    entries = np.abs(gradient.numpy().astype(np.float64))
    return [entries.mean(), entries.max(), entries.std(), (entries == 0).mean(), float(np.sqrt((entries**2).sum()))]


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e6])
@pytest.mark.parametrize("shape", [(1,), (7,), (64, 48), (3, 5, 2)])
def test_gradient_statistics_equal_the_oracle(shape: tuple[int, ...], scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) * scale for _ in range(3)]
    gradients[1][torch.rand(shape, generator=generator) < 0.5] = 0
    rows = gradient_statistics(gradients)
    for column, gradient in enumerate(gradients):
        np.testing.assert_allclose(rows[:, column].double().numpy(), oracle(gradient), rtol=1e-5, atol=1e-12 * scale)


def test_the_deviation_of_nearly_equal_entries_is_not_lost_to_cancellation() -> None:
    gradient = torch.full((1000,), 100.0) + torch.linspace(0, 0.01, 1000)
    assert gradient_statistics([gradient])[2].item() == pytest.approx(oracle(gradient)[2], rel=1e-3)


def test_a_tensor_without_gradient_is_nan_and_its_neighbours_are_not() -> None:
    rows = gradient_statistics([None, torch.ones(3), None])
    assert torch.isnan(rows[:, [0, 2]]).all()
    assert rows[:, 1].tolist() == pytest.approx([1, 1, 0, 0, math.sqrt(3)])


def test_no_gradient_at_all_is_nan() -> None:
    assert torch.isnan(gradient_statistics([None, None])).all()


def test_nan_in_a_gradient_shows() -> None:
    rows = gradient_statistics([torch.tensor([1.0, math.nan])])
    assert torch.isnan(rows[[0, 1, 2, 4], 0]).all()


def test_update_statistics_equal_the_oracle() -> None:
    before = [torch.randn(5, 4), torch.randn(3)]
    after = [tensor + 1e-3 * torch.randn_like(tensor) for tensor in before]
    norms = [float(np.linalg.norm(tensor.double().numpy())) for tensor in before]
    updates = [float(np.linalg.norm((a.double() - b.double()).numpy())) for a, b in zip(after, before, strict=True)]
    rows = update_statistics(before, after)
    np.testing.assert_allclose(rows.double().numpy(), [norms, updates], rtol=1e-4)


def test_rows_have_the_order_that_the_record_promises() -> None:
    assert STATISTICS[:5] == ("grad_mean", "grad_max", "grad_std", "grad_zero", "grad_norm")
    assert STATISTICS[5:] == ("param_norm", "update_norm", "update_ratio")
