"""The losses of backward calls, by the step that used their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from sweeper.auto.losses import NAME, BackwardLosses, StepLosses
from sweeper.auto.session import Session
from sweeper.auto.training import Training
from tests.auto.conftest import Record

Loss = Callable[[int], torch.Tensor]


@pytest.fixture
def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(()))


@pytest.fixture
def optimizer(training: Training, weight: nn.Parameter) -> torch.optim.Optimizer:
    """An optimizer that changes nothing, so that the loss of a call is what the test multiplies the weight with."""
    return torch.optim.SGD([weight], lr=0.0)


def recorded(training: Training, record: Record, name: str = NAME) -> dict[int, float]:
    training.close()
    return record.metric(name)


def test_each_step_has_the_loss_of_its_call(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    for value in (3.0, 1.0, 2.0):
        (weight * value).backward()
        optimizer.step()
    assert recorded(training, record) == {0: 3.0, 1: 1.0, 2: 2.0}
    assert "sum" not in record.notes


def test_calls_between_two_steps_are_added_up_and_named_so(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    for value in (3.0, 1.0):
        (weight * value).backward()
        (weight * 0.25).backward()
        optimizer.step()
    assert recorded(training, record) == {0: 3.25, 1: 1.25}
    assert "loss/backward is the sum of 2 backward calls a step" in record.notes


def test_an_incomplete_last_window_is_left_out(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    for calls in (4, 4, 2, 4, 4, 2):
        for _ in range(calls):
            (weight * 0.5).backward()
        optimizer.step()
    assert recorded(training, record) == {0: 2.0, 1: 2.0, 3: 2.0, 4: 2.0}


def test_fewer_calls_count_once_they_go_on(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    for calls in (2, 1, 1):
        for _ in range(calls):
            (weight * 1.0).backward()
        optimizer.step()
    assert recorded(training, record) == {0: 2.0, 2: 1.0}


def test_a_change_in_place_after_the_call_does_not_count(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    for _ in range(2):
        loss = weight * 3
        loss.backward()
        with torch.no_grad():
            loss.zero_()
        optimizer.step()
    assert recorded(training, record) == {0: 3.0, 1: 3.0}


@pytest.mark.parametrize(
    ("backward", "expected"),
    [
        (lambda w: (w * 3).view(1).backward(), 3.0),
        (lambda w: (w * 3).view(1).backward(torch.tensor([-1.0])), -3.0),  # as critics of a Wasserstein GAN do
        (lambda w: (w * 3).backward(gradient=torch.tensor(2.0)), 6.0),
        (lambda w: torch.autograd.backward([w * 3, w * 4]), 7.0),
        (lambda w: torch.autograd.backward((w * 3, w.expand(2)), (None, torch.ones(2))), 3.0),
        (lambda w: (w * 3).as_subclass(Subclass).backward(), 3.0),
        (lambda w: (w.to(torch.bfloat16) * 3).backward(), 3.0),
    ],
)
def test_a_loss_is_what_the_gradient_is_of(
    training: Training, record: Record, backward: Callable[[torch.Tensor], None], expected: float
) -> None:
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    backward(weight)
    optimizer.step()
    assert recorded(training, record) == {0: expected}
    assert "sum" not in record.notes
    assert "failed" not in record.notes


class Subclass(torch.Tensor):
    """A tensor of a library that has its own kind."""


def test_a_tensor_with_several_elements_is_no_loss(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    (weight * torch.ones(3)).backward(torch.ones(3))
    optimizer.step()
    assert recorded(training, record) == {}
    assert weight.grad == 3


def test_a_backward_pass_within_another_is_not_counted(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    checkpoint(lambda w: w * 3, weight, use_reentrant=True).backward()
    optimizer.step()
    assert recorded(training, record) == {0: 3.0}
    assert "sum" not in record.notes


def test_a_backward_pass_that_fails_is_not_counted_and_the_next_is(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    for _ in range(2):
        (weight * 3).backward()
        with pytest.raises(RuntimeError, match="does not require grad"):
            torch.ones(()).backward()
        optimizer.step()
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.ones(()).backward()
    assert recorded(training, record) == {0: 3.0, 1: 3.0}
    assert "sum" not in record.notes


def test_a_scaler_does_not_scale_the_recorded_loss_also_in_a_step_that_it_skips(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    values = [3.0, math.inf, 2.0, 5.0]
    for value in values:
        optimizer.zero_grad()
        scaler.scale(weight * value).backward()
        scaler.step(optimizer)
        scaler.update()
    assert recorded(training, record) == dict(enumerate(values))
    assert scaler.get_scale() < 1024.0


def test_each_of_several_optimizers_has_its_loss_under_the_name_of_its_variable(
    training: Training, record: Record
) -> None:
    generator, critic = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))
    opt_g, opt_d = torch.optim.SGD([generator], lr=0.0), torch.optim.SGD([critic], lr=0.0)
    for _ in range(2):
        (critic * 2).backward()
        (critic * 3).backward()
        opt_d.step()
        (generator * 7).backward()
        opt_g.step()
    assert recorded(training, record, f"{NAME}/opt_d") == {0: 5.0, 1: 5.0}
    assert record.metric(f"{NAME}/opt_g") == {0: 7.0, 1: 7.0}
    assert f"{NAME}/opt_d is the sum of 2 backward calls a step" in record.notes
    assert not record.metric(NAME)


def test_a_loss_of_all_optimizers_has_one_name(training: Training, record: Record) -> None:
    first, second = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))
    optimizers = [torch.optim.SGD([one], lr=0.0) for one in (first, second)]
    for _ in range(2):
        (first * second * 3).backward()
        for one in optimizers:
            one.step()
    assert recorded(training, record) == {0: 3.0, 1: 3.0}


def test_the_loss_before_the_step_counts_where_a_closure_computes_it_again(
    training: Training, record: Record, weight: nn.Parameter
) -> None:
    optimizer = torch.optim.LBFGS([weight], lr=0.1, max_iter=3)
    losses: list[float] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight - 3).square()
        loss.backward()
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
    assert len(losses) > 1
    assert recorded(training, record) == {0: losses[0]}


def test_an_optimizer_may_step_within_the_backward_pass(
    training: Training, record: Record, weight: nn.Parameter, optimizer: torch.optim.Optimizer
) -> None:
    weight.register_post_accumulate_grad_hook(lambda _: optimizer.step())
    for value in (3.0, 1.0):
        (weight * value).backward()
    assert recorded(training, record) == {0: 3.0, 1: 1.0}


def test_without_an_optimizer_each_call_is_a_step(training: Training, record: Record, weight: nn.Parameter) -> None:
    for value in (3.0, 1.0):
        (weight * value).backward()
    assert recorded(training, record) == {0: 3.0, 1: 1.0}
    assert "each backward call counts as a step" in record.notes


def test_close_restores_what_was_wrapped(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.autograd.backward, torch.amp.GradScaler.scale
    losses = BackwardLosses(lambda: None, lambda _: "", session)
    assert before[0] is not torch.autograd.backward
    assert before[1] is not torch.amp.GradScaler.scale
    losses.close()
    assert before == (torch.autograd.backward, torch.amp.GradScaler.scale)


# ---- nothing waits for the device ------------------------------------------------------------------------------------


@pytest.fixture
def cuda() -> Iterator[None]:
    """Tensors on a CUDA device without data. Reading a value of one raises."""
    with FakeTensorMode():
        yield


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("read", [torch.Tensor.item, torch.Tensor.tolist, bool])
def test_reading_a_value_of_a_fake_tensor_raises(read: Callable[[torch.Tensor], object]) -> None:
    """Without this, the test below would prove nothing."""
    with pytest.raises(Exception, match=r"_local_scalar_dense|FakeTensor"):
        read(torch.ones((), device="cuda"))


@pytest.mark.usefixtures("cuda")
def test_losses_are_added_and_written_without_waiting(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder:
        next_step = 0
        writes = True

        class outbox:  # noqa: N801 - as an attribute
            sent: ClassVar[list[torch.Tensor]] = []

            @classmethod
            def put(cls, values: torch.Tensor, _: object) -> None:
                cls.sent.append(values)

        def stepped(self) -> None:
            self.next_step += 1

    monkeypatch.setattr(session, "note", pytest.fail)  # any error is noted
    monkeypatch.setattr(torch.autograd, "backward", lambda *_: None)  # which needs a device
    recorder: Any = Recorder()
    losses = BackwardLosses(lambda: None, lambda _: "", session)
    try:
        losses.begin(recorder, each_call_is_a_step=True)
        for _ in range(10):
            loss = torch.ones((), device="cuda")
            torch.autograd.backward([loss.view(1), loss], [None, loss])
            loss.zero_()
    finally:
        losses.close()
    values = torch.cat(recorder.outbox.sent)
    assert values.device.type == "cuda"
    assert values.shape == (10,)


def test_losses_on_several_devices_are_added_on_the_first() -> None:
    step = StepLosses()
    with FakeTensorMode():
        step.add(torch.ones((), device="cuda:0"))
        step.add(torch.ones((), device="cuda:1"))
        assert step.end()[NAME].device == torch.device("cuda:0")
