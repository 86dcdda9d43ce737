"""The observations of the watch, compared with a loop that measures by hand."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sweeper
from sweeper.record.events import Event, Noted, Observation, Watching
from sweeper.record.reader import read_row
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir


class Deep(nn.Module):
    """Layers registered in another order than they are called in, an embedding, a norm, a tied copy."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.embedding = nn.Embedding(10, 6)
        self.first = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.middle = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        self.tied = nn.Linear(6, 10, bias=False)
        self.tied.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.first(self.embedding(tokens)))
        for layer in self.middle:
            hidden = torch.tanh(layer(hidden))
        out: torch.Tensor = self.last(hidden) + self.tied(hidden)[..., :3]
        return out


def attempt_of(folder: Path) -> AttemptDir:
    (run,) = (folder / "runs").iterdir()
    return SweepDir(run).trial(0).attempt(1)


def of_kind(attempt: AttemptDir, kind: type[Event]) -> list[Any]:
    return [event for event in read_journal(attempt.events) if isinstance(event, kind)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(model: nn.Module, *, steps: int, every: int, clip: float | None = None, look: bool = False) -> list[Any]:
    """Train; at observed steps, keep gradients, and parameters before and after, in plain Python."""
    kept: list[Any] = []
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    with sweeper.trial() as trial:
        watch = trial.watch(model, optimizer, every=every)
        for step in range(steps):
            model(torch.arange(10).reshape(2, 5)).pow(2).mean().backward()
            names = [name for name, _ in model.named_parameters()]
            before = copy.deepcopy([p.detach() for p in model.parameters()])
            raw = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            if look:
                watch.look()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            given = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            optimizer.step()
            optimizer.zero_grad()
            if step % every == 0:
                after = [p.detach().clone() for p in model.parameters()]
                kept.append({"names": names, "before": before, "after": after, "raw": raw, "given": given})
    return kept


@pytest.mark.parametrize("look", [True, False])
def test_observations_equal_a_loop_by_hand(here: Path, look: bool) -> None:
    torch.manual_seed(0)
    kept = train(Deep(), steps=7, every=3, clip=0.1, look=look)
    attempt = attempt_of(here)
    (watching,) = of_kind(attempt, Watching)
    observations = of_kind(attempt, Observation)
    assert [o.step for o in observations] == [0, 3, 6]
    assert [o.clipped for o in observations] == [not look] * 3
    for observation, by_hand in zip(observations, kept, strict=True):
        row = read_row(attempt, observation.row, watching.row_width)
        assert row is not None
        table = np.array(row[: watching.of_tensors]).reshape(len(watching.tensors), 8)
        for name, values in zip(watching.tensors, table, strict=True):
            i = by_hand["names"].index(name)
            gradient = by_hand["raw" if look else "given"][i].abs().double()
            before, after = by_hand["before"][i].double(), by_hand["after"][i].double()
            update, norm = (after - before).norm().item(), before.norm().item()
            expected = [gradient.mean(), gradient.max(), gradient.std(correction=0), (gradient == 0).double().mean()]
            expected += [gradient.norm(), norm, update, update / norm]
            np.testing.assert_allclose(values, [float(e) for e in expected], rtol=2e-3, atol=1e-9)


def test_layers_have_the_order_of_the_forward_pass(here: Path) -> None:
    train(Deep(), steps=1, every=1)
    (watching,) = of_kind(attempt_of(here), Watching)
    assert watching.layers == ("first", "middle.0", "middle.1", "middle.2", "last")
    layer_of = dict(zip(watching.tensors, watching.layer_of, strict=True))
    assert layer_of["embedding.weight"] == layer_of["norm.weight"] == -1
    assert "tied.weight" not in layer_of
    assert "last.bias" not in layer_of
    assert watching.layers[layer_of["last.weight"]] == "last"


def test_reach_is_that_of_the_profile(here: Path) -> None:
    kept = train(Deep(), steps=1, every=1)
    (observation,) = of_kind(attempt_of(here), Observation)
    rms = {n: g.double().pow(2).mean().sqrt().item() for n, g in zip(kept[0]["names"], kept[0]["given"], strict=True)}
    assert observation.reach == pytest.approx(rms["first.weight"] / rms["last.weight"], rel=1e-5)


def test_a_tensor_that_starts_at_zero_has_no_ratio_and_is_named(here: Path) -> None:
    layers = [nn.Linear(4, 4) for _ in range(4)]
    nn.init.zeros_(layers[3].weight)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
    attempt = attempt_of(here)
    (watching,) = of_kind(attempt, Watching)
    assert watching.left_out == {"3.weight": "no update ratio: starts at zero"}
    row = read_row(attempt, 0, watching.row_width)
    assert row is not None
    assert math.isnan(row[3 * 8 + 7])


def test_frozen_tensors_are_named_and_not_watched(here: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    next(model.parameters()).requires_grad = False
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
    (watching,) = of_kind(attempt_of(here), Watching)
    assert watching.tensors == ("1.weight",)
    assert watching.left_out == {"0.weight": "not watched: frozen"}


def test_fewer_than_four_layers_have_no_reach_and_a_note_explains_it(here: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
    attempt = attempt_of(here)
    assert math.isnan(of_kind(attempt, Observation)[0].reach)
    assert "reach is undefined" in of_kind(attempt, Noted)[0].text


def test_a_module_without_a_call_follows_its_predecessor(here: Path) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.out = nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.out(self.attention(x, x, x)[0])
            return out

    model = Attention()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer, every=1)
        model(torch.ones(2, 3, 8)).sum().backward()
        optimizer.step()
    (watching,) = of_kind(attempt_of(here), Watching)
    assert watching.layers == ("attention", "attention.out_proj", "out")


def test_watching_changes_nothing_in_training(here: Path) -> None:
    torch.manual_seed(0)
    plain = Deep()
    watched = copy.deepcopy(plain)
    train(watched, steps=5, every=2)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01)
    for _ in range(5):
        plain(torch.arange(10).reshape(2, 5)).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_optimizer_without_a_watched_tensor_is_no_obstacle(here: Path) -> None:
    """Such as that of all biases."""
    model = nn.Linear(4, 2)
    optimizers = [torch.optim.SGD([model.bias], lr=0.1), torch.optim.SGD([model.weight], lr=0.1)]
    with sweeper.trial() as trial:
        trial.watch(model, optimizers)
        model(torch.ones(3, 4)).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    (observation,) = of_kind(attempt_of(here), Observation)
    assert observation.gradient_norm == pytest.approx(3 * math.sqrt(8))
