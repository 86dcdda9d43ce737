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
from sweeper.record.journal import read_journal
from sweeper.record.layout import SweepDir
from sweeper.record.profile import ACTIVATIONS
from sweeper.worker.activations import Activations, measured, sample_of

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


def alone(rows: torch.Tensor) -> list[float]:
    """The definitions in `record.profile.ACTIVATIONS`, written out for one layer."""
    values = rows.double()
    scale = values.square().mean().sqrt()
    low, high, near = values.min(), values.max(), values.abs() > 0.99
    if low > 0 and high <= 1:
        near |= values < 0.01
    elif not (-1 <= low < 0 and high <= 1):
        near = torch.zeros(1)
    deviation = (values - values.mean(0)).square().mean().sqrt()
    shares = [(values == 0).all(0), values == 0, near]
    return [*(one.double().mean().item() for one in shares), scale.item(), (deviation / scale).item()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_layers_measured_together_have_the_values_that_each_has_alone(dtype: torch.dtype) -> None:
    x = 3 * torch.randn(64, 8, generator=torch.manual_seed(0))
    dead = torch.relu(x)
    dead[:, :3] = 0
    mixed = [torch.cat([one[:, :4], x[:, 4:]], dim=1) for one in (x.sigmoid(), x.tanh())]
    inputs = [x, dead, x.tanh(), x.sigmoid(), torch.randn(64, 200), x.sigmoid() * 0.5, -x.sigmoid(), *mixed]
    layers = [one.to(dtype) for one in inputs]
    expected = [alone(one) for one in layers]
    assert expected[1][0] == 3 / 8
    assert min(expected[2][2], expected[3][2]) > 0 == expected[0][2]
    for seen, values in zip(measured(layers).tolist(), expected, strict=True):
        assert seen == pytest.approx(values, rel=1e-3, abs=1e-6)


def test_what_is_no_number_is_not_hidden() -> None:
    broken = torch.tensor([[math.nan, 0.5]]).expand(16, 2)
    seen = dict(zip(ACTIVATIONS, measured([broken, torch.ones(16, 3)])[0].tolist(), strict=True))
    assert math.isnan(seen["scale"])
    assert (seen["zero"], seen["dead"], seen["saturated"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("shape", "channels_first", "units"),
    [
        ((2000, 8), False, 8),
        ((4, 8), False, 8),
        ((64, 4000), False, 4000),
        ((16, 80, 64), False, 64),
        ((4, 7, 7, 96), False, 96),
        ((32, 16, 32, 32), True, 16),
        ((1, 3, 64), True, 3),
        ((9, 300, 1), True, 300),
    ],
)
def test_a_sample_has_enough_rows_and_all_units(shape: tuple[int, ...], channels_first: bool, units: int) -> None:
    given = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    seen = sample_of(given, channels_first=channels_first)
    rows = given.numel() // units
    assert seen.shape[1] == units
    assert min(rows, 32) <= len(seen) <= rows
    assert seen.numel() <= max(2 * 4096, 64 * units)
    assert seen.unique().numel() == seen.numel()
    one_unit = given.movedim(1, -1) if channels_first else given
    assert set(map(tuple, seen.tolist())) <= set(map(tuple, one_unit.reshape(-1, units).tolist()))


def test_a_sample_of_images_is_of_all_their_columns() -> None:
    columns = torch.arange(32.0).expand(32, 16, 32, 32)
    assert sample_of(columns, channels_first=True).unique().numel() == 32


def test_an_input_that_is_changed_in_place_was_sampled_before() -> None:
    class Doubling(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.mul_(2))

    layers = nn.ModuleDict({"first": Doubling(8, 8), "second": nn.Linear(8, 8)})
    activations = Activations(dict(layers))
    x = torch.ones(BATCH, 8)
    activations.open()
    for layer in layers.values():
        layer(x)
    x.fill_(100.0)
    scales = activations.take(["second", "first", "other"], torch.device("cpu"))[:, ACTIVATIONS.index("scale")]
    assert scales.tolist() == pytest.approx([2, 1, math.nan], nan_ok=True)
