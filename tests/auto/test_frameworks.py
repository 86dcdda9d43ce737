"""The callbacks that are added to Trainers. Small classes stand for those of transformers and Lightning."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import sweeper
from sweeper.auto import frameworks
from sweeper.auto.session import Part, Session
from sweeper.auto.training import Training
from sweeper.integrations import HuggingFaceCallback, LightningCallback
from tests.auto.conftest import Record

HF, LIGHTNING = frameworks.TRAINERS


def module_with_trainer(name: str) -> Any:
    """Return a module with a class `Trainer` that keeps its callbacks where the library does."""

    class Trainer:
        def __init__(self, callbacks: list[Any] | None = None) -> None:
            self.callbacks = list(callbacks or [])
            self.callback_handler = SimpleNamespace(callbacks=self.callbacks)

        def add_callback(self, callback: Any) -> None:
            self.callbacks.append(callback)

    module: Any = ModuleType(name)
    module.Trainer = Trainer
    return module


@pytest.fixture(params=[(HF, HuggingFaceCallback), (LIGHTNING, LightningCallback)], ids=["transformers", "lightning"])
def library(request: pytest.FixtureRequest, session: Session) -> tuple[Any, type]:
    name, callback = request.param
    module = module_with_trainer(name)
    frameworks.install(session, module)
    return module, callback


def test_each_trainer_gets_one_callback(library: tuple[Any, type], session: Session) -> None:
    module, callback = library
    (added,) = module.Trainer().callbacks
    assert isinstance(added, callback)
    assert session.part is Part.WRITER


def test_a_trainer_of_a_derived_class_gets_it_too(library: tuple[Any, type]) -> None:
    module, callback = library

    class Mine(module.Trainer):  # type: ignore[misc, name-defined]  # made above
        pass

    assert [type(one).__mro__[1] for one in Mine().callbacks] == [callback]


def test_a_trainer_that_has_one_keeps_it(library: tuple[Any, type], session: Session) -> None:
    module, callback = library
    own: Any = object.__new__(callback)
    assert module.Trainer([own]).callbacks == [own]


def test_a_silent_process_gets_none(library: tuple[Any, type], session: Session) -> None:
    module, _ = library
    session.part = Part.SILENT
    assert module.Trainer().callbacks == []


def test_a_script_that_has_taken_over_gets_none(library: tuple[Any, type]) -> None:
    module, _ = library
    with sweeper.trial():
        assert module.Trainer().callbacks == []


def test_a_trainer_of_an_unknown_version_is_noted(session: Session, record: Record) -> None:
    module: Any = ModuleType(HF)
    module.Trainer = type("Trainer", (), {})
    frameworks.install(session, module)
    assert type(module.Trainer()) is module.Trainer
    assert "adding a callback failed, so it is missing: AttributeError" in record.notes


def test_the_callback_takes_over_from_the_hooks_and_losses_go_on(
    training: Training, session: Session, record: Record
) -> None:
    trial = session.trial
    assert trial is not None
    frameworks._take_over(session, trial, "transformers.Trainer")
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trial.watch(model, optimizer)
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    training.close()
    assert list(record.metric("loss/backward")) == [0, 1, 2]
    assert record.inferred == {"trainer": ("transformers.Trainer",)}
