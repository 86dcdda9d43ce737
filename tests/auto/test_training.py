"""The automatic watch of the optimizers of a process."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import sweeper
from sweeper.auto import training as module
from sweeper.auto.session import Part, Session
from sweeper.auto.training import EVERY, Training
from sweeper.errors import UsageError
from sweeper.record.events import Finished, Observation, Parameters, Spiked, Watching
from sweeper.record.storage.layout import read_json, write_json
from sweeper.worker.trial import recorder_of
from tests.auto.conftest import Record
from tests.auto.test_session import end

NAME = "loss/backward"


class Net(nn.Module):
    """A small network that holds its loss function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 1)
        self.loss = functional.mse_loss

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(given).relu())  # type: ignore[no-any-return]  # torch's


def sgd(model: nn.Module, lr: float = 0.01) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, after: Callable[[], object] = int) -> None:
    for _ in range(steps):
        given = torch.randn(16, 4)
        optimizer.zero_grad()
        loss = functional.mse_loss(model(given), given.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        after()


def observed(record: Record) -> list[int]:
    return [event.step for event in record.of(Observation)]


def test_the_watch_begins_with_the_first_step_in_the_order_of_the_layers(training: Training, record: Record) -> None:
    model = Net()
    optimizer = sgd(model)
    with torch.no_grad():
        model(torch.zeros(1, 4))
    assert not record.events
    train(model, optimizer, EVERY + 1)
    training.close()
    assert observed(record) == [0, EVERY]
    assert list(record.metric(NAME)) == list(range(EVERY + 1))
    (watching,) = record.of(Watching)
    assert watching.layers == ("first", "second")
    assert record.inferred == {"optimizers": ("optimizer (SGD)",), "models": ("model (Net)",)}
    assert "no forward pass was observed" not in record.notes


def test_the_first_call_of_the_loss_is_checked(training: Training, record: Record) -> None:
    """Python has looked up the loss function before the model is called, with which the watch begins."""
    model = Net()
    train(model, sgd(model), 1)
    training.close()
    assert record.of(Observation)[0].activations["loss_value"] == pytest.approx(record.metric(NAME)[0])


@pytest.mark.parametrize("after", [0, 1, EVERY - 1, EVERY])
def test_models_and_optimizers_can_be_copied_and_saved_at_any_time(
    training: Training, record: Record, after: int, tmp_path: Path
) -> None:
    model = Net()
    optimizer = sgd(model)
    train(model, optimizer, after)
    model(torch.zeros(1, 4))
    torch.save(model, tmp_path / "model.pt")
    pickle.dumps(optimizer)
    copied = copy.deepcopy(model)
    copy.deepcopy(optimizer)
    train(copied, sgd(copied), 1)
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert loaded(torch.zeros(1, 4)).shape == (1, 1)
    assert loaded.loss is functional.mse_loss
    assert b"sweeper" not in pickle.dumps(model)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_loss_function_can_be_scripted(training: Training) -> None:
    class Scripted(nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return functional.mse_loss(given, given) + functional.binary_cross_entropy(given, given)

    model = Net()
    train(model, sgd(model), 1)
    assert torch.jit.script(Scripted())(torch.zeros(3)) == 0


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_gradients_of_a_script_module_are_observed(training: Training, record: Record) -> None:
    model = torch.jit.script(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1)))
    train(model, sgd(model), 3)
    training.close()
    assert list(record.metric(NAME)) == [0, 1, 2]
    assert observed(record) == [0]
    assert "failed" not in record.notes


def test_an_optimizer_that_the_script_deletes_is_freed_when_the_next_one_trains(
    training: Training, record: Record
) -> None:
    gc.disable()
    try:
        references = []
        for _ in range(3):
            model = Net()
            optimizer = sgd(model)
            references.append(weakref.ref(optimizer))
            train(model, optimizer, EVERY // 2)
        assert [reference() is None for reference in references] == [True, True, False]
    finally:
        gc.enable()
    training.close()
    assert list(record.metric(NAME)) == list(range(3 * (EVERY // 2)))
    assert observed(record) == [0, EVERY]
    assert [event.trained for event in record.of(Parameters)] == [49] * 3


def test_the_watch_begins_anew_with_a_group_of_parameters_that_is_added(training: Training, record: Record) -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.first.parameters(), lr=0.01)
    train(model, optimizer, 3)
    optimizer.add_param_group({"params": model.second.parameters()})
    train(model, optimizer, EVERY)
    training.close()
    assert [(event.trained, event.unowned) for event in record.of(Parameters)] == [(40, 9), (49, 0)]
    assert list(record.metric(NAME)) == list(range(EVERY + 3))


@pytest.mark.filterwarnings("error:Using `torch.compile")
def test_a_compiled_module_is_watched_without_a_warning(training: Training, record: Record) -> None:
    from torch._dynamo import eval_frame

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eval_frame.OptimizedModule, "__call__", eval_frame.OptimizedModule.__call__)
        training.watch_compiled(eval_frame)
        model = Net()
        optimizer = sgd(model)
        compiled: Any = torch.compile(model, backend="eager")
        with torch.no_grad():
            compiled(torch.zeros(2, 4))
        train(compiled, optimizer, EVERY + 1)
    training.close()
    assert observed(record) == [0, EVERY]
    assert list(record.metric(NAME)) == list(range(EVERY + 1))
    assert "no forward pass was observed" not in record.notes


def test_a_lazy_model_is_watched_once_it_has_a_shape(training: Training, record: Record) -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(1))
    train(model, sgd(model), 2)
    training.close()
    assert observed(record) == [0]
    assert "nothing is watched" not in record.notes
    assert list(record.metric(NAME)) == [0, 1]


def test_an_optimizer_that_was_not_constructed_here_is_known_from_its_step(training: Training, record: Record) -> None:
    model = Net()
    optimizer = copy.deepcopy(sgd(model))
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert recorder_of(training._session.trial).next_step == 1  # type: ignore[arg-type]  # it is open


@pytest.mark.parametrize("part", ["forward", "step"])
def test_a_measurement_that_fails_is_noted_and_steps_are_still_counted(
    training: Training, record: Record, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("an odd tensor")

    if part == "forward":
        monkeypatch.setattr("sweeper.worker.watch.forward.activations.sample_of", fail)
    else:
        monkeypatch.setattr("sweeper.worker.watch.optimizer_step.WatchedOptimizer.before_step", fail)
    model = Net()
    train(model, sgd(model), EVERY + 2)
    training.close()
    assert record.notes.count("observing layers failed, so it is missing: RuntimeError: an odd tensor") == 1
    assert list(record.metric(NAME)) == list(range(EVERY + 2))
    assert not observed(record)
    assert not any(one._forward_pre_hooks for one in model.modules())


def test_an_optimizer_without_the_base_constructor_is_as_none(training: Training, record: Record) -> None:
    class Bare(torch.optim.Optimizer):
        def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
            self.param_groups = [{"params": parameters}]

        def step(self, closure: object = None) -> None:  # type: ignore[override]  # as some are
            del closure

        def zero_grad(self, set_to_none: object = None) -> None:
            del set_to_none

    model = Net()
    train(model, Bare(list(model.parameters())), 3)
    training.close()
    assert list(record.metric(NAME)) == [0, 1, 2]
    assert "there is no optimizer" in record.notes


def test_steps_that_were_never_seen_are_said_at_the_exit(
    training: Training, record: Record, exits: Sequence[Callable[[], object]]
) -> None:
    model = Net()
    optimizer = sgd(model)
    end(exits)
    assert "no step of SGD was seen" in record.notes
    del optimizer


def test_metrics_are_at_the_step_that_is_over(training: Training, session: Session, record: Record) -> None:
    model = Net()
    optimizer = sgd(model)
    train(model, optimizer, 3)
    session.log("wandb.log", {"x": 1.0}, step=999)
    assert record.metric("x") == {2: 1.0}
    assert list(record.metric(NAME)) == [0, 1, 2], "what was seen before is written before"


def test_a_stop_comes_after_the_step_at_hand(
    training: Training, record: Record, exits: Sequence[Callable[[], object]]
) -> None:
    model = Net()
    optimizer = sgd(model)
    left: list[int] = []

    def step() -> None:
        left.append(len(left))
        if len(left) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as stopped:
        train(model, optimizer, 100, after=step)
    assert stopped.value.code == 143
    assert len(left) == 4
    end(exits)
    assert list(record.metric(NAME)) == [0, 1, 2, 3, 4]
    assert [event.outcome for event in record.of(Finished)] == ["stopped"]


def test_a_script_without_an_optimizer_stops_between_two_backward_calls(training: Training, record: Record) -> None:
    weight = nn.Parameter(torch.ones(()))
    (weight * 1).backward()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit):
        (weight * 1).backward()
    assert weight.grad == 1


def test_a_script_that_handles_sigterm_itself_keeps_its_handler(training: Training, record: Record) -> None:
    def own(*_: object) -> None:
        pass

    signal.signal(signal.SIGTERM, own)
    model = Net()
    train(model, sgd(model), 1)
    assert signal.getsignal(signal.SIGTERM) is own
    assert "the script handles SIGTERM itself, so it decides when it stops" in record.notes


@pytest.mark.parametrize("steps_before", [0, 3])
def test_the_script_takes_over_with_its_own_watch(training: Training, record: Record, steps_before: int) -> None:
    model = Net()
    optimizer = sgd(model)
    train(model, optimizer, steps_before)
    with sweeper.trial() as trial:
        trial.watch(model, optimizer)
        train(model, optimizer, EVERY)
        assert recorder_of(trial).next_step == steps_before + EVERY
        trial.report({"loss/train": 1.0}, step=0)
    assert list(record.metric(NAME)) == list(range(steps_before))
    assert record.metric("loss/train") == {0: 1.0}
    assert [event.outcome for event in record.of(Finished)] == ["completed"]
    assert observed(record) == ([0] if not steps_before else [0, EVERY])


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: functional.cross_entropy(torch.zeros(2, 3), torch.zeros(5, dtype=torch.long)),
        lambda: torch.ones(()).backward(),
        lambda: torch.optim.SGD([], lr=0.1),
    ],
    ids=["loss", "backward", "optimizer"],
)
def test_the_traceback_of_the_scripts_own_error_is_that_of_the_script(
    training: Training, mistake: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    model = Net()
    train(model, sgd(model), 1)
    with pytest.raises((RuntimeError, ValueError)) as failed:
        mistake()
    sys.excepthook(failed.type, failed.value, failed.tb)
    shown = capsys.readouterr().err
    assert str(failed.value) in shown
    assert __file__ in shown
    assert f"{os.sep}sweeper{os.sep}" not in shown


def test_the_traceback_of_an_error_of_sweeper_shows_where(
    training: Training, session: Session, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = session.trial
    assert trial is not None
    model = Net()
    with pytest.raises(UsageError) as failed:
        trial.watch(model, sgd(model), every=0)
    sys.excepthook(failed.type, failed.value, failed.tb)
    assert f"{os.sep}sweeper{os.sep}worker{os.sep}trial.py" in capsys.readouterr().err


def test_a_silent_process_is_left_alone(training: Training, session: Session, record: Record) -> None:
    session.part = Part.SILENT
    model = Net()
    optimizer = sgd(model)
    train(model, optimizer, 3)
    assert not record.events
    assert not model._forward_pre_hooks
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_close_restores_what_was_wrapped(session: Session) -> None:
    optimizers = torch.optim.Optimizer
    before = optimizers.__init__, optimizers.add_param_group, torch.autograd.backward
    training = Training(session)
    assert optimizers.__init__ is not before[0]
    training.close()
    assert before == (optimizers.__init__, optimizers.add_param_group, torch.autograd.backward)


def test_what_another_tool_wrapped_meanwhile_stays(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", torch.optim.Optimizer.__init__)
    training = Training(session)
    ours = torch.optim.Optimizer.__init__

    def theirs(self: torch.optim.Optimizer, *args: object, **kwargs: object) -> None:
        ours(self, *args, **kwargs)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(torch.optim.Optimizer, "__init__", theirs)
    training.close()
    assert torch.optim.Optimizer.__init__ is theirs


def test_an_optimizer_inside_another_does_the_steps() -> None:
    model = Net()

    class Outer(torch.optim.Optimizer):
        def __init__(self, base: torch.optim.Optimizer) -> None:
            super().__init__(base.param_groups, {})
            self.base = base

    base = sgd(model)
    outer = Outer(base)
    assert module._wraps_another(outer, [outer, base])
    assert not module._wraps_another(base, [outer, base])


# ---- spikes ----------------------------------------------------------------------------------------------------------


def train_with_a_corrupted_batch(optimizer: torch.optim.Optimizer, model: nn.Module, bad: int, steps: int) -> float:
    """Train and return the loss of the last step. The batch of step `bad` is a thousand times as large."""
    generator = torch.Generator().manual_seed(2)
    last = 0.0
    for step in range(steps):
        given = torch.randn(16, 4, generator=generator)
        optimizer.zero_grad()
        loss = functional.mse_loss(model(given * (1000 if step == bad else 1)), given.sum(1, keepdim=True))
        loss.backward()
        optimizer.step()
        last = loss.item()
    return last


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_a_step_with_a_spike_is_skipped_without_changes_to_the_script(
    session: Session, record: Record, monkeypatch: pytest.MonkeyPatch, kind: type[Any]
) -> None:
    write_json(record.directory.facts, {**read_json(record.directory.facts), "on_spike": "skip"})
    torch.manual_seed(0)
    session.training = training = Training(session)
    model = Net()
    optimizer = kind(model.parameters(), lr=0.01)
    before: list[torch.Tensor] = []
    states: list[int] = []

    def note(one: torch.optim.Optimizer, *_: object) -> None:
        before.append(model.first.weight.detach().clone())
        states.append(max((int(state["step"]) for state in one.state.values() if "step" in state), default=0))

    optimizer.register_step_post_hook(note)
    try:
        train_with_a_corrupted_batch(optimizer, model, 100, 130)
    finally:
        training.close()
    (spike,) = record.of(Spiked)
    assert (spike.step, spike.action, spike.skipped) == (100, "skip", 1)
    assert torch.equal(before[100], before[99]), "the step changed nothing"
    assert not torch.equal(before[101], before[100])
    if kind is torch.optim.AdamW:
        assert states[99] == states[100] == states[101] - 1, "the optimizer did not count the step"
    assert observed(record) == list(range(0, 130, EVERY)), "the watch did"
    assert [event.withheld for event in record.of(Observation) if event.step == 100] == [1]


def test_spikes_are_recorded_by_default(training: Training, record: Record) -> None:
    model = Net()
    train_with_a_corrupted_batch(sgd(model, 1e-6), model, 100, 130)
    training.close()
    found = {spike.step: spike for spike in record.of(Spiked)}
    assert found[100].name == NAME
    assert {spike.action for spike in found.values()} == {"record"}
