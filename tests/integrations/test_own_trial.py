"""Callbacks without an argument: each opens the trial of its process, or takes the open one."""

from __future__ import annotations

import importlib
import pydoc
from collections.abc import Iterator
from typing import Any

import pytest

import sweeper
from sweeper.errors import UsageError
from sweeper.integrations import HuggingFaceCallback, LightningCallback
from sweeper.integrations.own_trial import OwnTrial
from sweeper.record.events import Finished, Started
from sweeper.worker import opening
from tests.integrations.record import Record

CALLBACKS = [HuggingFaceCallback, LightningCallback]


@pytest.fixture(autouse=True)
def ended(record: Record) -> Iterator[None]:
    record.next_attempt()
    yield
    if (trial := opening.current()) is not None:
        trial.finish()


@pytest.mark.parametrize("name", ["HuggingFaceCallback", "LightningCallback"])
def test_a_configuration_can_name_a_callback_by_its_dotted_path(name: str) -> None:
    path = f"sweeper.integrations.{name}"
    made: Any = pydoc.locate(path)
    assert made is getattr(importlib.import_module("sweeper.integrations"), name)
    made()
    assert opening.current() is None  # a process that only reads its configuration has no trial


@pytest.mark.parametrize("callback", CALLBACKS)
def test_resume_opens_the_trial(callback: Any, record: Record) -> None:
    made = callback()
    assert made.resume() is None
    assert opening.current() is not None
    assert callback().resume() is None
    assert len(record.events(Started)) == 1


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_context_manager_is_not_taken_for_its_trial(callback: Any) -> None:
    with pytest.raises(
        UsageError, match=rf"{callback.__name__}\(...\): expected an open trial, as in `with sweeper.tri"
    ):
        callback(sweeper.trial())


def test_the_open_trial_is_taken(record: Record) -> None:
    with sweeper.trial() as trial:
        assert OwnTrial(None, "Callback").trial is trial
        assert record.events(Finished) == []
    assert len(record.events(Finished)) == 1


def test_a_training_after_the_end_has_the_next_trial() -> None:
    own = OwnTrial(None, "Callback")
    first = own.open()
    first.finish()
    assert own.trial is first
    assert own.open() is not first
