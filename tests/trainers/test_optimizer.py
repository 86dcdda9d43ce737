"""AdamW without bias correction, held against the formula in float64; and the schedule."""

from __future__ import annotations

import pytest
import torch

from sweeper.trainers.optimizer import adamw, learning_rate
from sweeper.trainers.settings import Settings

STEPS = 100


def _model(dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)).to(dtype)


def _gradients(model: torch.nn.Module, step: int) -> list[torch.Tensor]:
    """Gradients as they come: large and tiny ones, and none at all."""
    source = torch.Generator().manual_seed(step)
    scales = (1.0, 1e-4, 0.0, 1e-8)
    return [
        scale * torch.randn(p.shape, generator=source, dtype=torch.float64)
        for scale, p in zip(scales, model.parameters(), strict=True)
    ]


def _reference(settings: Settings, *, corrected: bool) -> list[torch.Tensor]:
    """p <- p (1 - lr wd) - lr m / (sqrt(v) + eps), weight decay on matrices alone."""
    model = _model(torch.float64)
    parameters = [p.detach().clone() for p in model.parameters()]
    m, v = [torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters]
    for step in range(STEPS):
        c1 = 1 - settings.beta1 ** (step + 1) if corrected else 1.0
        c2 = 1 - settings.beta2 ** (step + 1) if corrected else 1.0
        for i, gradient in enumerate(_gradients(model, step)):
            m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * gradient
            v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * gradient**2
            decay = settings.weight_decay if parameters[i].ndim > 1 else 0.0
            update = (m[i] / c1) / ((v[i] / c2).sqrt() + settings.eps)
            parameters[i] = parameters[i] * (1 - settings.lr * decay) - settings.lr * update
    return parameters


def _stepped(settings: Settings, dtype: torch.dtype) -> list[torch.Tensor]:
    model = _model(dtype)
    optimizer = adamw(model, settings)
    for step in range(STEPS):
        for parameter, gradient in zip(model.parameters(), _gradients(model, step), strict=True):
            parameter.grad = gradient.to(dtype)
        optimizer.step()
    return [p.detach().double() for p in model.parameters()]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-8, 1e-6, 1e-3])
@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_a_hundred_steps_are_those_of_the_formula(
    weight_decay: float, eps: float, bias_correction: bool, dtype: torch.dtype, tolerance: float
) -> None:
    settings = Settings(lr=1e-3, eps=eps, weight_decay=weight_decay, bias_correction=bias_correction)
    stepped, expected = _stepped(settings, dtype), _reference(settings, corrected=bias_correction)
    for got, wanted in zip(stepped, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("beta2", [0.9, 0.999, 0.99999])
def test_without_correction_the_count_of_steps_has_no_influence(beta2: float) -> None:
    settings = Settings(lr=1e-3, beta2=beta2)
    for got, wanted in zip(_stepped(settings, torch.float64), _reference(settings, corrected=False), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-13, atol=1e-13)


def test_a_loaded_optimizer_steps_on_without_correction() -> None:
    settings = Settings(lr=1e-3)
    whole, halves = _model(torch.float32), _model(torch.float32)
    first, second = adamw(whole, settings), adamw(halves, settings)
    for step in range(20):
        if step == 10:
            saved = second.state_dict()
            second = adamw(halves, settings)
            second.load_state_dict(saved)
        for model, optimizer in ((whole, first), (halves, second)):
            for parameter, gradient in zip(model.parameters(), _gradients(model, step), strict=True):
                parameter.grad = gradient.float()
            optimizer.step()
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [learning_rate(step, total_steps=10, warmup_fraction=0.4, peak=8.0) for step in range(10)]
    assert rates[:4] == [2.0, 4.0, 6.0, 8.0]
    assert rates[4:] == pytest.approx([8.0, 8 * 5 / 6, 8 * 4 / 6, 4.0, 8 * 2 / 6, 8 / 6])


@pytest.mark.parametrize(("fraction", "ends"), [(0.0, (8.0, 0.8)), (1.0, (0.8, 8.0))])
def test_the_schedule_may_be_all_warmup_or_none(fraction: float, ends: tuple[float, float]) -> None:
    rates = [learning_rate(step, total_steps=10, warmup_fraction=fraction, peak=8.0) for step in (0, 9)]
    assert rates == pytest.approx(ends)
