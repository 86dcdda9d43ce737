"""Which layers feed each other, and what enters them, on models that people write."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import sweeper
from sweeper.record.events import Observation, Parameters, Watching
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir

BATCH = 16


def tower(width: int = 8, layers: int = 4, out: int = 2) -> nn.Sequential:
    middle = [module for _ in range(layers) for module in (nn.Linear(width, width), nn.Tanh())]
    return nn.Sequential(*middle, nn.Linear(width, out))


class ActorCritic(nn.Module):
    """Two networks that are given the same input and share no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = tower(), tower(out=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.actor(x).sum() + self.critic(x).square().sum()
        return loss


class SharedTrunk(nn.Module):
    """Two heads on one trunk, of which the second is registered first."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(2, 1)
        self.trunk, self.policy = tower(), nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.trunk(x))
        loss: torch.Tensor = self.policy(hidden).sum() + self.value(hidden).square().sum()
        return loss


class Functional(nn.Module):
    """Layers that functions join, a residual path, and a head that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.unused = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.first(x))
        loss: torch.Tensor = self.head(hidden + functional.relu(self.second(hidden))).sum()
        return loss


def recorded(
    model: nn.Module, here: Path, monkeypatch: pytest.MonkeyPatch, *, x: torch.Tensor | None = None, loss: Any = None
) -> list[Any]:
    monkeypatch.chdir(here)
    torch.manual_seed(0)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad] or [torch.zeros(1)], lr=0.01)
    given = torch.randn(BATCH, 8) if x is None else x
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        for _ in range(2):
            optimizer.zero_grad()
            out = model(given)
            (out if loss is None else loss(out)).backward()
            optimizer.step()
    (run,) = (here / "runs").iterdir()
    return read_journal(SweepDir(run).trial(0).attempt(1).events)


def only(events: list[Any], kind: type) -> Any:
    return next(event for event in events if isinstance(event, kind))


def test_an_actor_and_a_critic_are_two_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = only(recorded(ActorCritic(), tmp_path, monkeypatch), Watching)
    assert watching.networks == (0, 0, 0, 0, 0, 1, 1, 1, 1, 1)
    assert watching.layers[5].startswith("critic")


def test_heads_on_one_trunk_are_one_network_and_stand_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = only(recorded(SharedTrunk(), tmp_path, monkeypatch), Watching)
    assert set(watching.networks) == {0}
    assert set(watching.layers[-2:]) == {"policy", "value"}


def test_a_layer_without_a_gradient_does_not_hide_the_reach_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = nn.ModuleDict({"used": ActorCritic(), "unused": nn.Linear(3, 3)})
    unused.forward = unused["used"].forward
    events = recorded(unused, tmp_path, monkeypatch)
    observation = only(events, Observation)
    assert observation.missing == 1
    assert observation.reach > 0
    assert observation.gradient_norm > 0


def test_functions_and_residual_paths_join_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = only(recorded(Functional(), tmp_path, monkeypatch), Watching)
    assert watching.layers[:3] == ("first", "second", "head")
    assert watching.networks[:3] == (0, 0, 0)


def test_units_that_are_zero_for_every_example_are_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = nn.Linear(8, 8)
    with torch.no_grad():
        first.bias[:6] = -100.0
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    events = recorded(model, tmp_path, monkeypatch, loss=torch.Tensor.sum)
    activations = only(events, Observation).activations
    assert activations["dead"] >= 6 / 8
    assert activations["spread"] > 0
    assert activations["input_scale"] == pytest.approx(1, abs=0.2)


def test_a_saturated_tanh_is_told_from_a_relu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    events = recorded(model, tmp_path, monkeypatch, x=1e4 * torch.randn(BATCH, 8), loss=torch.Tensor.sum)
    assert only(events, Observation).activations["saturated"] > 0.9
    assert only(events, Observation).activations["input_scale"] > 5e3


def test_a_constant_activation_has_no_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = nn.Linear(8, 8)
    with torch.no_grad():
        first.weight.zero_()
    model = nn.Sequential(first, nn.Sigmoid(), nn.Linear(8, 2))
    events = recorded(model, tmp_path, monkeypatch, loss=torch.Tensor.sum)
    assert only(events, Observation).activations["spread"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("double", [True, False])
def test_probabilities_given_to_cross_entropy_are_a_mismatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, double: bool
) -> None:
    original = functional.cross_entropy
    model = nn.Sequential(*tower(out=3), *([nn.Softmax(1)] if double else []))
    target = torch.arange(BATCH) % 3
    events = recorded(model, tmp_path, monkeypatch, loss=lambda out: nn.CrossEntropyLoss()(out, target))
    activations = only(events, Observation).activations
    assert activations["loss_mismatch"] == float(double)
    assert "loss_prior" not in activations  # of 16 targets and 3 classes, too few
    assert functional.cross_entropy is original


def test_what_no_optimizer_trains_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].requires_grad_(requires_grad=False)
    other = nn.Linear(2, 2)
    with sweeper.trial() as trial:
        trial.watch(model, torch.optim.SGD([*model[1].parameters(), *other.parameters()], lr=0.1))
    (run,) = (tmp_path / "runs").iterdir()
    parameters = only(read_journal(SweepDir(run).trial(0).attempt(1).events), Parameters)
    assert (parameters.trained, parameters.frozen, parameters.unowned, parameters.foreign) == (20, 20, 20, 6)
    assert parameters.names == ("2.weight", "2.bias")
    assert parameters.resolution == pytest.approx(1.19e-7, rel=0.01)


def test_the_loss_of_a_constant_prediction_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = torch.tensor([0] * 120 + [1] * 40)
    model = nn.Sequential(*tower(out=2))
    events = recorded(
        model, tmp_path, monkeypatch, x=torch.randn(160, 8), loss=lambda y: functional.cross_entropy(y, target)
    )
    activations = only(events, Observation).activations
    assert activations["loss_prior"] == pytest.approx(0.5623 + 1 / 320, abs=1e-3)
    assert activations["loss_value"] > 0.5


def test_the_variance_of_targets_is_the_loss_of_a_constant_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = torch.randn(BATCH, 2) * torch.tensor([3.0, 1.0]) + 5
    model = nn.Sequential(*tower(out=2))
    events = recorded(model, tmp_path, monkeypatch, loss=lambda y: nn.MSELoss()(y, target))
    assert only(events, Observation).activations["loss_prior"] == pytest.approx(
        target.var(0, correction=0).mean().item(), rel=1e-3
    )


def test_a_batch_of_one_example_says_nothing_of_dead_units_or_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = recorded(tower(), tmp_path, monkeypatch, x=torch.randn(1, 8), loss=torch.Tensor.sum)
    activations = only(events, Observation).activations
    assert not {"dead", "spread"} & activations.keys()
    assert activations["scale"] > 0


class Attending(nn.Module):
    """One layer of attention, whose logits are known."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k = self.query(x), self.key(x)
        return functional.scaled_dot_product_attention(q, k, x).sum()


def test_the_largest_attention_logit_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = functional.scaled_dot_product_attention
    model, x = Attending(), 10 * torch.randn(4, 5, 8)
    first = x[:1]
    expected = (model.query(first) @ model.key(first).transpose(1, 2)).abs().max().item() / math.sqrt(8)
    activations = only(recorded(model, tmp_path, monkeypatch, x=x), Observation).activations
    assert activations["attention_logit"] == pytest.approx(expected, rel=1e-3)
    assert functional.scaled_dot_product_attention is original


def test_a_model_without_attention_has_no_logit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    activations = only(recorded(tower(), tmp_path, monkeypatch, loss=torch.Tensor.sum), Observation).activations
    assert "attention_logit" not in activations


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own, of a graph's inputs
def test_a_compiled_loss_function_is_not_compiled_anew_at_each_observation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(*tower(out=3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    compiled = []

    def backend(graph: Any, _: object) -> Any:
        compiled.append(graph)
        return graph.forward

    @torch.compile(backend=backend)
    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = functional.cross_entropy(x, y)
        return loss

    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=2)
        for _ in range(30):
            optimizer.zero_grad()
            loss_of(model(torch.randn(BATCH, 8)), torch.arange(BATCH) % 3).backward()
            optimizer.step()
    assert 1 <= len(compiled) <= 2


def test_features_made_in_inference_mode_are_measured_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = nn.Linear(8, 8).requires_grad_(requires_grad=False)
    with torch.inference_mode():
        features = torch.randn(BATCH, 8)
    events = recorded(nn.Sequential(frozen, *tower()), tmp_path, monkeypatch, x=features, loss=torch.Tensor.sum)
    assert only(events, Observation).activations["scale"] > 0
