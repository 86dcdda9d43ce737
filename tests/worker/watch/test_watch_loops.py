"""The watch in typical training loops, compared with measurements of the loop itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import sweeper
from sweeper.errors import UsageError
from sweeper.record.events import Event, Noted, Observation, Watching
from sweeper.record.reader import read_row
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir
from sweeper.worker.watch.watch import IDLE_AFTER

Values = npt.NDArray[np.float64]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


class Seen:
    """The record of the only run."""

    def __init__(self) -> None:
        (run,) = Path("runs").iterdir()
        self.attempt: AttemptDir = SweepDir(run).trial(0).attempt(1)
        self.events = read_journal(self.attempt.events)

    def all(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def watching(self) -> Watching:
        (watching,) = self.all(Watching)
        assert isinstance(watching, Watching)
        return watching

    @property
    def steps(self) -> list[int]:
        return [observation.step for observation in self.all(Observation)]

    def table(self, index: int) -> dict[str, dict[str, float]]:
        """One observation: tensor by tensor, statistic by statistic."""
        watching, observation = self.watching, self.all(Observation)[index]
        width = len(watching.statistics)
        row = read_row(self.attempt, observation.row, watching.row_width)
        assert row is not None
        table = np.array(row[: watching.of_tensors]).reshape(len(watching.tensors), width).tolist()
        return {
            tensor: dict(zip(watching.statistics, values, strict=True))
            for tensor, values in zip(watching.tensors, table, strict=True)
        }


def stack(*, width: int = 6, depth: int = 5) -> Any:
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)))


def norm(tensor: torch.Tensor | None) -> float:
    assert tensor is not None
    return float(tensor.detach().double().norm())


BATCH = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


@contextmanager
def watched(model: nn.Module, optimizer: Any, **options: Any) -> Iterator[tuple[sweeper.Trial, Any]]:
    with sweeper.trial() as trial:
        yield trial, trial.watch(model, optimizer, **{"every": 1, **options})


def test_gradient_accumulation_counts_optimizer_steps() -> None:
    model = stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    with watched(model, optimizer, every=2):
        for micro in range(12):
            model(BATCH).square().sum().backward()
            if micro % 3 == 2:
                norms.append(norm(model[0][0].weight.grad))
                optimizer.step()
                optimizer.zero_grad()
    seen = Seen()
    assert seen.steps == [0, 2]
    assert seen.table(1)["0.0.weight"]["grad_norm"] == pytest.approx(norms[2], rel=1e-5)


def test_the_learning_rate_is_the_highest_of_the_groups() -> None:
    model = stack()
    groups = [{"params": model[:2].parameters(), "lr": 0.3}, {"params": model[2:].parameters()}]
    optimizer = torch.optim.AdamW(groups, lr=torch.tensor(0.01), capturable=False, foreach=False)
    with watched(model, optimizer):
        model(BATCH).sum().backward()
        optimizer.step()
    (observation,) = Seen().all(Observation)
    assert observation.learning_rate == 0.3


def test_two_optimizers_that_alternate_make_one_step() -> None:
    models: Any = nn.ModuleDict({"generator": stack(), "critic": stack()})
    one, other = (torch.optim.SGD(model.parameters(), lr=0.1) for model in models.values())
    kept = []
    with watched(models, [one, other], every=2) as (trial, _):
        for _ in range(4):
            for model, optimizer in zip(models.values(), (one, other), strict=True):
                model(BATCH).square().sum().backward()
                kept.append(norm(model[1][0].weight.grad))
                optimizer.step()
                optimizer.zero_grad()
        assert trial.next_step == 4
    seen = Seen()
    assert seen.steps == [0, 2]
    assert seen.table(1)["generator.1.0.weight"]["grad_norm"] == pytest.approx(kept[4], rel=1e-5)
    assert seen.table(1)["critic.1.0.weight"]["grad_norm"] == pytest.approx(kept[5], rel=1e-5)
    assert seen.table(1)["critic.1.0.weight"]["update_ratio"] > 0


def test_a_critic_that_steps_several_times_makes_one_step_with_its_generator() -> None:
    models: Any = nn.ModuleDict({"generator": stack(), "critic": stack()})
    slow, fast = (torch.optim.SGD(model.parameters(), lr=0.1) for model in models.values())
    kept = []
    with watched(models, [slow, fast], every=2) as (trial, _):
        for _ in range(4):
            for _ in range(3):
                fast.zero_grad()
                models["critic"](BATCH).square().sum().backward()
                kept.append(norm(models["critic"][1][0].weight.grad))
                fast.step()
            models["generator"](BATCH).square().sum().backward()
            slow.step()
        assert trial.next_step == 4
    seen = Seen()
    assert seen.steps == [0, 2]
    assert seen.table(1)["critic.1.0.weight"]["grad_norm"] == pytest.approx(kept[6], rel=1e-5)


def test_a_step_does_not_wait_for_an_idle_optimizer() -> None:
    models: Any = nn.ModuleDict({"generator": stack(), "critic": stack()})
    slow, fast = (torch.optim.SGD(model.parameters(), lr=0.1) for model in models.values())
    with watched(models, [slow, fast], every=1) as (trial, _):
        for _ in range(IDLE_AFTER + 4):
            models["critic"](BATCH).square().sum().backward()
            fast.step()
        assert trial.next_step == 4
        models["generator"](BATCH).square().sum().backward()
        slow.step()
        models["critic"](BATCH).square().sum().backward()
        fast.step()
        assert trial.next_step == 5
    assert Seen().steps == [0, 1, 2, 3, 4]


def test_an_optimizer_that_steps_again_before_the_script_ends_is_kept() -> None:
    models: Any = nn.ModuleDict({"generator": stack(), "critic": stack()})
    slow, fast = (torch.optim.SGD(model.parameters(), lr=0.1) for model in models.values())
    with watched(models, [slow, fast]):
        for _ in range(3):
            models["critic"](BATCH).square().sum().backward()
            fast.step()
    seen = Seen()
    assert seen.steps == [0]
    assert math.isnan(seen.table(0)["generator.1.0.weight"]["grad_norm"])
    assert seen.table(0)["critic.1.0.weight"]["grad_norm"] > 0


def test_a_step_that_was_begun_when_the_script_ends_is_kept() -> None:
    models: Any = nn.ModuleList([stack(), stack()])
    one, other = (torch.optim.SGD(model.parameters(), lr=0.1) for model in models)
    with watched(models, [one, other]):
        models[0](BATCH).sum().backward()
        one.step()
    assert Seen().steps == [0]


def test_a_sparse_gradient_is_measured_over_the_whole_tensor() -> None:
    model: Any = nn.Sequential(nn.Embedding(20, 6, sparse=True), *stack())
    sparse, dense = torch.optim.SparseAdam(list(model[0].parameters())), torch.optim.SGD(model[1:].parameters(), lr=0.1)
    with watched(model, [sparse, dense]):
        model(torch.tensor([1, 2, 2])).sum().backward()
        gradient = model[0].weight.grad
        assert gradient is not None
        assert gradient.is_sparse
        dense_gradient = gradient.to_dense().abs()
        sparse.step()
        dense.step()
    values = Seen().table(0)["0.weight"]
    assert values["grad_zero"] == pytest.approx(18 / 20)
    assert values["grad_mean"] == pytest.approx(dense_gradient.mean().item(), rel=1e-5)
    assert values["grad_std"] == pytest.approx(dense_gradient.std(correction=0).item(), rel=1e-5)


def test_in_bf16_updates_lost_to_rounding_are_zero() -> None:
    model = stack().to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with watched(model, optimizer):
        model(BATCH.to(torch.bfloat16)).sum().backward()
        optimizer.step()
    values = Seen().table(0)["0.0.weight"]
    assert values["grad_norm"] > 0
    assert values["update_ratio"] == 0


def train_scaled(optimizer: torch.optim.Optimizer, model: Any, *, bad: set[int], look: bool) -> list[float]:
    """Six steps under a gradient scaler; at `bad` ones a gradient is infinite. Returns the true norms of a layer."""
    norms = []
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    with watched(model, optimizer, every=3) as (_, watch):
        for step in range(6):
            loss = model(BATCH).square().sum() * (math.inf if step in bad else 1.0)
            norms.append(norm(torch.autograd.grad(loss, model[0][0].weight, retain_graph=True)[0]))
            scaler.scale(loss).backward()
            if look:
                scaler.unscale_(optimizer)
                watch.look()
                nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    return norms


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_gradients_under_a_gradient_scaler_are_unscaled(fused: bool, look: bool) -> None:
    model = stack()
    norms = train_scaled(torch.optim.AdamW(model.parameters(), fused=fused), model, bad=set(), look=look)
    seen = Seen()
    assert seen.steps == [0, 3]
    for index, step in enumerate((0, 3)):
        assert seen.table(index)["0.0.weight"]["grad_norm"] == pytest.approx(norms[step], rel=1e-4)
        assert seen.table(index)["0.0.weight"]["update_ratio"] > 0
    assert [observation.skipped for observation in seen.all(Observation)] == [0, 0]


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_a_gradient_scaler_skips_are_counted_as_skipped(fused: bool, look: bool) -> None:
    model = stack()
    norms = train_scaled(torch.optim.AdamW(model.parameters(), fused=fused), model, bad={1, 2}, look=look)
    seen = Seen()
    assert seen.steps == [0, 3]
    assert [observation.skipped for observation in seen.all(Observation)] == [0, 2]
    assert seen.table(1)["0.0.weight"]["grad_norm"] == pytest.approx(norms[3], rel=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_step_that_was_to_be_observed_has_no_update(fused: bool) -> None:
    model = stack()
    train_scaled(torch.optim.AdamW(model.parameters(), fused=fused), model, bad={3}, look=fused)
    seen = Seen()
    if fused:
        assert seen.steps == [0, 3]
        observation = seen.all(Observation)[1]
        assert observation.skipped == 1
        assert math.isnan(observation.reach)
        assert math.isnan(observation.update_ratio)
        assert math.isnan(seen.table(1)["0.0.weight"]["update_norm"])


def test_a_skipped_step_leaves_the_scaler_as_it_was() -> None:
    step = torch.amp.GradScaler.step
    model = stack()
    train_scaled(torch.optim.SGD(model.parameters(), lr=0.1), model, bad={1}, look=False)
    assert torch.amp.GradScaler.step is step


class Crossed(nn.Module):
    """Its layers are called in another order than they are registered in."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(5)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index in (4, 0, 3, 1, 2):
            x = torch.tanh(self.layers[index](x))
        return x


CROSSED = tuple(f"layers.{index}" for index in (4, 0, 3, 1, 2))


@pytest.mark.parametrize("how", ["wrapped", "in place", "a part", "called before"])
def test_a_compiled_model_is_watched_in_its_forward_order(how: str) -> None:
    model: Any = Crossed()
    names = CROSSED
    if how == "wrapped":
        model = torch.compile(model, backend="aot_eager")
    elif how == "a part":
        wrapped: Any = torch.compile(model, backend="aot_eager")
        model = nn.Sequential(wrapped)
        names = tuple(f"0.{name}" for name in CROSSED)
    else:
        model.compile(backend="aot_eager")
    if how == "called before":
        model(BATCH).sum().backward()
        model.zero_grad()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    with watched(model, optimizer):
        for _ in range(3):
            model(BATCH).square().sum().backward()
            norms.append([norm(tensor.grad) for tensor in model.parameters() if tensor.dim() > 1])
            optimizer.step()
            optimizer.zero_grad()
    seen = Seen()
    assert seen.watching.layers == names
    assert seen.steps == [0, 1, 2]
    assert sorted(v["grad_norm"] for v in seen.table(2).values()) == pytest.approx(sorted(norms[2]), rel=1e-4)


def test_the_compiler_stance_is_restored() -> None:
    model: Any = Crossed()
    model.compile(backend="aot_eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compiled = []

    def backend(graph: Any, _: Any) -> Any:
        compiled.append(graph)
        return graph

    with torch.compiler.set_stance("force_eager"), watched(model, optimizer):
        model(BATCH).sum().backward()
        optimizer.step()
        torch.compile(torch.sin, backend=backend)(BATCH)
        assert not compiled
    torch.compile(torch.sin, backend=backend)(BATCH)
    assert compiled


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, while it compiles
def test_a_compiled_step_is_watched() -> None:
    model = stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = torch.compile(optimizer.step, backend="aot_eager")
    with watched(model, optimizer):
        for _ in range(3):
            model(BATCH).square().sum().backward()
            step()
            optimizer.zero_grad()
    seen = Seen()
    assert seen.steps == [0, 1, 2]
    assert seen.table(2)["0.0.weight"]["update_ratio"] > 0


def test_gradient_checkpointing_calls_layers_twice_and_changes_nothing() -> None:
    class Checkpointed(Crossed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for index in (4, 0, 3, 1, 2):
                x = torch.tanh(checkpoint(self.layers[index], x, use_reentrant=False))
            return x

    model: Any = Checkpointed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watched(model, optimizer):
        model(BATCH).square().sum().backward()
        expected = norm(model.layers[4].weight.grad)
        optimizer.step()
    seen = Seen()
    assert seen.watching.layers == CROSSED
    assert seen.table(0)["layers.4.weight"]["grad_norm"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("by_name", [False, True])
def test_with_a_closure_gradients_are_those_of_the_closure(by_name: bool) -> None:
    model = stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(BATCH).square().sum()
        loss.backward()
        norms.append(norm(model[0][0].weight.grad))
        return loss

    with watched(model, optimizer):
        for _ in range(2):
            loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
            assert loss is not None
    seen = Seen()
    assert seen.steps == [0, 1]
    for index in range(2):
        values = seen.table(index)["0.0.weight"]
        assert values["grad_norm"] == pytest.approx(norms[index], rel=1e-5)
        assert values["update_norm"] == pytest.approx(0.1 * norms[index], rel=1e-3)


def test_a_closure_that_is_called_several_times_is_measured_once() -> None:
    model = stack()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    norms = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(BATCH).square().sum()
        loss.backward()
        norms.append(norm(model[0][0].weight.grad))
        return loss

    with watched(model, optimizer):
        optimizer.step(closure)
    seen = Seen()
    assert len(norms) > 1
    assert seen.steps == [0]
    assert seen.table(0)["0.0.weight"]["grad_norm"] == pytest.approx(norms[0], rel=1e-5)


def test_reach_alone_records_the_norms_of_the_layers() -> None:
    model: Any = nn.Sequential(nn.LayerNorm(6), *stack())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watched(model, optimizer, statistics="reach"):
        model(BATCH).square().sum().backward()
        norms = {f"{index}.0.weight": norm(model[index][0].weight.grad) for index in range(1, 6)}
        optimizer.step()
    seen = Seen()
    assert seen.watching.statistics == ("grad_norm",)
    assert {name: values["grad_norm"] for name, values in seen.table(0).items()} == pytest.approx(norms, rel=1e-5)
    (observation,) = seen.all(Observation)
    assert observation.reach == pytest.approx(norms["1.0.weight"] / norms["5.0.weight"], rel=1e-5)
    assert math.isnan(observation.update_ratio)


def test_patterns_choose_what_is_watched() -> None:
    model = stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watched(model, optimizer, layers=["[01]", "4.*.weight"]):
        model(BATCH).sum().backward()
        optimizer.step()
    assert Seen().watching.tensors == ("0.0.weight", "1.0.weight", "4.0.weight")


def test_tensors_that_cannot_be_watched_are_noted_once_by_name() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stack = stack()
            self.frozen = nn.Linear(6, 6).requires_grad_(requires_grad=False)
            self.forgotten = nn.Linear(6, 6)
            self.waves = nn.Parameter(torch.ones(6, 6, dtype=torch.complex64))
            self.lazy = nn.LazyLinear(6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.forgotten(self.frozen(self.stack(x))) + (x.to(torch.complex64) @ self.waves).abs()
            return out

    model = Odd()
    parameters = [
        p for n, p in model.named_parameters() if "forgotten" not in n and "lazy" not in n and p.requires_grad
    ]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    with watched(model, optimizer):
        for _ in range(3):
            model(BATCH).sum().backward()
            optimizer.step()
    seen = Seen()
    assert set(seen.watching.left_out) == {"frozen.weight", "forgotten.weight", "waves", "lazy.weight"}
    notes = [note.text for note in seen.all(Noted)]
    assert len(notes) == 1
    assert all(name in notes[0] for name in seen.watching.left_out)


def test_a_model_without_tensors_to_watch_leaves_a_note() -> None:
    model = stack().requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watched(model, optimizer) as (trial, _):
        optimizer.step()
        assert trial.next_step == 1
    seen = Seen()
    assert not seen.steps
    assert "nothing is watched: not watched: frozen: 0.0.weight, " in seen.all(Noted)[0].text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": 0}, "every=...): expected a number of steps above 0, got 0"),
        ({"statistics": "some"}, "expected one of full, reach, got 'some'"),
        ({"layers": ["encoder.*"]}, "no name matches encoder.*"),
    ],
)
def test_a_wrong_argument_is_explained(options: dict[str, Any], said: str) -> None:
    model = stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sweeper.trial() as trial, pytest.raises(UsageError) as caught:
        trial.watch(model, optimizer, **options)
    assert said in str(caught.value)


def test_a_trial_is_watched_once_at_a_time() -> None:
    model = stack()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sweeper.trial() as trial:
        first = trial.watch(model, optimizer, every=1)
        with pytest.raises(UsageError, match="called twice"):
            trial.watch(model, optimizer)
        first.close()
        trial.watch(model, optimizer, every=1)
        model(BATCH).sum().backward()
        optimizer.step()
    assert Seen().steps == [0]


def test_no_optimizer_at_all_is_explained() -> None:
    with sweeper.trial() as trial, pytest.raises(UsageError, match=r"expected a torch.optim.Optimizer, got Linear"):
        trial.watch(stack(), nn.Linear(1, 1))  # type: ignore[arg-type]


def test_a_wrapped_optimizer_is_watched_inside() -> None:
    class Wrapper:
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

        def step(self) -> None:
            self.optimizer.step()

    model = stack()
    wrapper: Any = Wrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with watched(model, wrapper):
        model(BATCH).sum().backward()
        wrapper.step()
    assert Seen().steps == [0]
