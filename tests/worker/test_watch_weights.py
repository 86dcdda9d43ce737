"""What an observation says of all watched weights: their norm, gradients that are missing, networks, equal units."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sweeper
from sweeper.record.events import Observation
from sweeper.record.journal import read_journal
from sweeper.record.layout import SweepDir
from sweeper.record.profile import slowest

STEPS, EVERY = 70, 10


def observed(
    folder: Path,
    model: nn.Module,
    loss: Callable[[], Tensor],
    optimizers: list[torch.optim.Optimizer] | None = None,
) -> list[Observation]:
    """Train, and return the observations."""
    chosen = optimizers or [torch.optim.Adam(model.parameters(), lr=0.01)]
    with sweeper.trial() as trial:
        trial.watch(model, chosen, every=EVERY)
        for _ in range(STEPS):
            loss().backward()
            for optimizer in chosen:
                optimizer.step()
            for optimizer in chosen:
                optimizer.zero_grad()
    (run,) = (folder / "runs").iterdir()
    events = read_journal(SweepDir(run).trial(0).attempt(1).events)
    return [event for event in events if isinstance(event, Observation)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


def deep(*sizes: int) -> nn.Sequential:
    layers = [part for sizes_ in itertools.pairwise(sizes) for part in (nn.Linear(*sizes_), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def regression(model: nn.Module) -> Callable[[], Tensor]:
    x = torch.randn(64, 8)
    return lambda: (model(x) - x[:, :3]).square().mean()


def test_the_norm_is_that_of_all_weights(here: Path) -> None:
    model = deep(8, 16, 3)
    weights = [one.detach().flatten() for one in model.parameters() if one.dim() > 1]
    expected = torch.cat(weights).norm().item()
    assert observed(here, model, regression(model))[0].weights["norm"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("detached", "expected"), [(False, 0.0), (True, 128 / (128 + 256 + 48))])
def test_weights_before_a_detach_have_no_gradient(here: Path, detached: bool, expected: float) -> None:
    body, head, x = deep(8, 16), deep(16, 16, 3), torch.randn(64, 8)
    model = nn.Sequential(body, head)

    def loss() -> Tensor:
        hidden: Tensor = body(x)
        out: Tensor = head(hidden.detach() if detached else hidden)
        return (out - x[:, :3]).square().mean()

    for one in observed(here, model, loss):
        assert one.weights["without_gradient"] == pytest.approx(expected, abs=1e-3)


def test_weights_whose_loss_has_the_weight_zero_have_no_gradient(here: Path) -> None:
    model = nn.ModuleList([deep(8, 16, 3), deep(8, 16, 3)])
    first, second = regression(model[0]), regression(model[1])
    for one in observed(here, model, lambda: first() + 0.0 * second()):
        assert one.weights["without_gradient"] == pytest.approx(0.5)


def test_the_slowest_of_two_networks_is_recorded(here: Path) -> None:
    model = nn.ModuleList([deep(8, 16, 3), deep(8, 16, 3)])
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(one.parameters(), lr=rate) for one, rate in zip(model, (0.1, 1e-6), strict=True)
    ]
    first, second = regression(model[0]), regression(model[1])
    last = observed(here, model, lambda: first() + second(), optimizers)[-1]
    assert 0 < last.weights["slowest"] < 1e-3 * last.update_ratio


def test_one_network_has_no_slowest(here: Path) -> None:
    model = deep(8, 16, 3)
    assert "slowest" not in observed(here, model, regression(model))[-1].weights


def test_networks_of_one_layer_are_not_compared() -> None:
    assert slowest([1.0, 2.0, 1e-9], [0, 1, 2], [0, 0, 1]) != slowest([1.0, 2.0, 3.0, 1e-9], [0, 1, 2, 3], [0, 0, 1, 1])


@pytest.mark.parametrize(("constant", "expected"), [(True, 1.0), (False, 0.0)])
def test_units_that_start_equal_stay_equal(here: Path, constant: bool, expected: float) -> None:
    model = deep(8, 16, 16, 3)
    if constant:
        for one in model.parameters():
            nn.init.constant_(one, 0.1)
    shares = [one.weights["equal_units"] for one in observed(here, model, regression(model))[:5]]
    assert shares == [expected] * 5


def test_one_layer_that_starts_equal_comes_apart(here: Path) -> None:
    model = deep(8, 16, 16, 3)
    nn.init.constant_(next(model.parameters()), 0.1)
    shares = [one.weights["equal_units"] for one in observed(here, model, regression(model))[:5]]
    assert shares == [0.0] * 5


def test_units_are_compared_in_the_first_observations_only(here: Path) -> None:
    model = deep(8, 16, 3)
    found = ["equal_units" in one.weights for one in observed(here, model, regression(model))]
    assert found == [True] * 5 + [False] * 2


class Adapted(nn.Module):
    """A frozen layer with an adapter whose second factor starts at zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(requires_grad=False)
        self.down = nn.Linear(inputs, 4, bias=False)
        self.up = nn.Linear(4, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.up(self.down(x))
        return out


def test_adapters_that_start_at_zero_come_apart(here: Path) -> None:
    model = nn.Sequential(Adapted(8, 16), nn.Tanh(), Adapted(16, 16), nn.Tanh(), Adapted(16, 3))
    parameters = [one for one in model.parameters() if one.requires_grad]
    found = observed(here, model, regression(model), [torch.optim.Adam(parameters, lr=0.01)])
    assert [one.weights["equal_units"] for one in found[:5]] == [0.0] * 5
