"""Statistics against a NumPy oracle in float64, on the CPU's path and on the accelerator's, which must agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.record.values.depth_profile import STATISTICS
from sweeper.worker.watch import statistics
from sweeper.worker.watch.statistics import Measure, finished

Values = npt.NDArray[np.float64]
Path = Callable[[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]], torch.Tensor]
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}


def as_float64(tensor: torch.Tensor) -> Values:
    values: Values = (tensor.to_dense() if tensor.is_sparse else tensor).double().numpy()
    return values


def oracle(gradient: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> list[float]:
    entries, old, new = np.abs(as_float64(gradient)), as_float64(before), as_float64(after)
    norm, update = np.linalg.norm(old.ravel()), np.linalg.norm((new - old).ravel())
    of_gradient = [entries.mean(), entries.max(), entries.std(), (entries == 0).mean(), np.linalg.norm(entries.ravel())]
    return [*of_gradient, norm, update, update / norm]


def by_chunks(gradients: list[torch.Tensor], before: list[torch.Tensor], after: list[torch.Tensor]) -> torch.Tensor:
    measure = Measure()
    return torch.cat([measure.gradients(gradients, norm_only=False), measure.updates(before, after)])


def by_foreach(gradients: list[torch.Tensor], before: list[torch.Tensor], after: list[torch.Tensor]) -> torch.Tensor:
    """Run the code for accelerators on the CPU."""
    scratch = [torch.empty_like(gradient) for gradient in gradients]
    sums = statistics.gradients_by_foreach(list(gradients), scratch)
    return torch.cat([sums, statistics.updates_by_foreach([tensor.clone() for tensor in before], after)])


def table(sums: torch.Tensor, tensors: Sequence[torch.Tensor]) -> Values:
    sizes = torch.tensor([tensor.numel() for tensor in tensors], dtype=torch.float64)
    values: Values = finished(sums, sizes, torch.ones_like(sizes)).double().numpy()
    return values


@pytest.mark.parametrize("path", [by_chunks, by_foreach])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_statistics_equal_the_oracle(path: Path, dtype: torch.dtype, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1,), (7,), (64, 48), (3, 5, 2), (statistics.CHUNK + 3,)]
    before = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    after = [(tensor.float() * 1.01).to(dtype) for tensor in before]
    gradients = [(torch.randn(shape, generator=generator) * scale).to(dtype) for shape in shapes]
    gradients[2][torch.rand(shapes[2], generator=generator) < 0.5] = 0
    rows = table(path(gradients, before, after), before)
    for row, gradient, old, new in zip(rows, gradients, before, after, strict=True):
        expected = oracle(gradient, old, new)
        np.testing.assert_allclose(row, expected, rtol=TOLERANCE[dtype], atol=1e-7 * scale)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40), min_size=1, max_size=4),
    st.integers(1, 7),
)
def test_the_chunk_does_not_matter(tensors: list[list[float]], chunk: int) -> None:
    gradients = [torch.tensor(values) for values in tensors]
    whole = by_chunks(gradients, gradients, gradients)
    usual, statistics.CHUNK = statistics.CHUNK, chunk
    try:
        np.testing.assert_allclose(by_chunks(gradients, gradients, gradients), whole, rtol=1e-6, atol=1e-30)
    finally:
        statistics.CHUNK = usual


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e-15, 1e18])
def test_squares_beyond_float32_are_not_lost(scale: float) -> None:
    """The squares of a vanished gradient, and their sum, are below the range of float32."""
    gradient = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * scale
    row = table(by_chunks([gradient], [gradient], [2 * gradient]), [gradient])[0]
    np.testing.assert_allclose(row, oracle(gradient, gradient, 2 * gradient), rtol=1e-5)


@pytest.mark.parametrize("path", [by_chunks, by_foreach])
def test_the_deviation_of_nearly_equal_entries_is_not_lost_to_cancellation(path: Path) -> None:
    gradient = torch.full((1000,), 100.0) + torch.linspace(0, 0.01, 1000)
    row = table(path([gradient], [gradient], [gradient]), [gradient])[0]
    assert row[2] == pytest.approx(oracle(gradient, gradient, gradient)[2], rel=1e-3)


@pytest.mark.parametrize("view", [lambda t: t.T, lambda t: t[::2], lambda t: t.expand(3, -1, -1)])
def test_the_memory_layout_does_not_matter(view: Callable[[torch.Tensor], torch.Tensor]) -> None:
    before, after, gradient = (view(torch.randn(8, 6)) for _ in range(3))
    row = table(by_chunks([gradient], [before], [after]), [gradient])[0]
    np.testing.assert_allclose(row, oracle(gradient, before, after), rtol=1e-5, atol=1e-7)


def test_missing_entries_of_a_sparse_gradient_are_zeros() -> None:
    embedding = torch.nn.Embedding(50, 4, sparse=True)
    embedding(torch.tensor([3, 7, 3])).square().sum().backward()
    gradient = embedding.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    weight = embedding.weight.detach()
    row = table(by_chunks([gradient], [weight], [weight + 1]), [weight])[0]
    np.testing.assert_allclose(row, oracle(gradient, weight, weight + 1), rtol=1e-5)


def test_a_tensor_without_gradient_is_nan_and_others_are_not() -> None:
    sums = Measure().gradients([None, torch.ones(3), None], norm_only=False)
    assert torch.isnan(sums[:, [0, 2]]).all()
    assert sums[:, 1].tolist() == pytest.approx([3, 3, 3, 1])


def test_no_gradient_at_all_is_nan() -> None:
    assert torch.isnan(Measure().gradients([None, None], norm_only=True)).all()


def test_a_tensor_without_entries_has_sums_of_zero() -> None:
    """Some ranks have no part of a small tensor."""
    empty = torch.empty(0, 4)
    assert not by_chunks([empty], [empty], [empty]).any()
    assert not by_foreach([empty], [empty], [empty]).any()


@pytest.mark.parametrize("path", [by_chunks, by_foreach])
@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_values_that_are_not_finite_are_visible(path: Path, odd: float) -> None:
    tensor = torch.tensor([1.0, odd, 2.0])
    row = table(path([tensor], [torch.ones(3)], [torch.ones(3)]), [tensor])[0]
    assert not np.isfinite(row[[0, 1, 2, 4]]).any()


def test_norms_only_equal_those_of_the_full_table() -> None:
    gradients = [torch.randn(40, 3), torch.randn(5)]
    measure = Measure()
    full = measure.gradients(gradients, norm_only=False)
    torch.testing.assert_close(measure.gradients(gradients, norm_only=True)[0], full[2], rtol=1e-6, atol=0)


def test_a_tensor_that_was_zero_has_no_ratio() -> None:
    zero = torch.zeros(3)
    assert math.isnan(table(by_chunks([zero], [zero], [zero + 1]), [zero])[0][7])


def test_columns_have_the_recorded_order() -> None:
    assert STATISTICS[:5] == ("grad_mean", "grad_max", "grad_std", "grad_zero", "grad_norm")
    assert STATISTICS[5:] == ("param_norm", "update_norm", "update_ratio")
