"""The wrapping, with libraries that are made for it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sweeper.auto.loggers import LOGGERS, base
from sweeper.auto.loggers.base import Logged, tap, tap_subclasses

INNER = """
class Inner:
    def log(self, values, step=None, *, fails=False):
        '''Log.'''
        if fails:
            raise ValueError("wrong")
        return len(values)
    def set(self, name, value):
        self.log({name: value})
"""
OUTER = """
class Outer:
    def __init__(self, inner, callback=None):
        self.inner, self.callback = inner, callback
    def log(self, values):
        self.inner.log({"renamed": 1})
        self.inner.set("indirect", 2)
        if self.callback:
            self.callback()
"""


class Log:
    def __init__(self, *, fails: bool = False) -> None:
        self.logged: list[tuple[str, dict[str, object], int | None]] = []
        self.notes: list[str] = []
        self._fails = fails

    def __call__(self, source: str, values: Mapping[str, object], step: int | None = None) -> None:
        if self._fails:
            raise OSError("full")
        self.logged.append((source, dict(values), step))

    def note(self, text: str) -> None:
        self.notes.append(text)

    log = __call__


def read(_self: object, values: Mapping[str, object], step: object = None, **_: object) -> Logged:
    return [(values, step)]


def library(name: str, source: str) -> Any:
    module = ModuleType(name)
    exec(source, module.__dict__)  # noqa: S102 - the sources above
    return module


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_noted", set())


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def inner(log: Log) -> Any:
    module = library("inner.logging", INNER)
    tap(module.Inner, "log", log, "inner.log", read)
    return module.Inner()


@pytest.fixture
def outer(log: Log) -> Any:
    module = library("outer.training", OUTER)
    tap(module.Outer, "log", log, "outer.log", read)
    return module.Outer


def test_results_and_signature_stay(inner: Any, log: Log) -> None:
    assert inner.log({"a": 1, "b": "x"}) == 2
    assert inner.log(values={"a": 1}, step=3) == 1
    assert log.logged == [("inner.log", {"a": 1.0}, None), ("inner.log", {"a": 1.0}, 3)]
    assert list(inspect.signature(inner.log).parameters) == ["values", "step", "fails"]
    assert inner.log.__doc__ == "Log."


@pytest.mark.parametrize("call", [lambda it: it.log({"a": 1}, fails=True), lambda it: it.log(), lambda it: it.log(3)])
def test_exceptions_reach_the_script_and_nothing_is_recorded(inner: Any, log: Log, call: Callable[[Any], Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        call(inner)
    assert log.logged == []
    assert log.notes == []


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        *((3, 3), (np.int64(3), 3), (torch.tensor(3), 3), (None, None), (0.5, None), ("3", None)),
        (torch.tensor(3, device="meta"), None),
    ],
)
def test_steps_are_whole_numbers(inner: Any, log: Log, step: object, expected: int | None) -> None:
    inner.log({"a": 1}, step)
    assert log.logged == [("inner.log", {"a": 1.0}, expected)]


def test_what_a_library_logs_through_another_is_recorded_once(inner: Any, outer: Any, log: Log) -> None:
    outer(inner).log({"loss": 0.5})
    assert log.logged == [("outer.log", {"loss": 0.5}, None)]
    inner.log({"a": 1})  # afterwards, calls are recorded again
    assert log.logged[1:] == [("inner.log", {"a": 1.0}, None)]


def test_a_library_that_wraps_the_function_does_not_start_the_call(inner: Any, outer: Any, log: Log) -> None:
    names = library("comet_ml.patches", "def wrapped(original):\n    return lambda values: original(values)")
    through = ModuleType("through")
    through.__dict__.update(log=names.wrapped(inner.log), set=lambda *_: None)
    outer(through).log({"loss": 0.5})
    through.log({"a": 1})
    assert log.logged == [("outer.log", {"loss": 0.5}, None), ("inner.log", {"a": 1.0}, None)]


def test_what_the_users_callback_logs_is_recorded_too(inner: Any, outer: Any, log: Log) -> None:
    outer(inner, lambda: inner.log({"mine": 1})).log({"loss": 0.5})
    assert sorted(source for source, _, _ in log.logged) == ["inner.log", "outer.log"]


def test_a_call_that_is_left_to_another_hides_the_librarys_own_calls(inner: Any, log: Log) -> None:
    module = library("other.training", OUTER)
    tap(module.Outer, "log", log, "other.log", lambda *_: [])
    module.Outer(inner, lambda: inner.log({"mine": 1})).log({"loss": 0.5})
    assert log.logged == [("inner.log", {"mine": 1.0}, None)]


def test_after_an_exception_calls_are_recorded_again(inner: Any, outer: Any, log: Log) -> None:
    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        outer(inner, fail).log({"loss": 0.5})
    outer(inner).log({"loss": 0.25})
    assert log.logged == [("outer.log", {"loss": 0.25}, None)]


def test_another_thread_is_not_inside_the_call(inner: Any, outer: Any, log: Log) -> None:
    def in_a_thread() -> None:
        thread = threading.Thread(target=lambda: inner.log({"thread": 1}))
        thread.start()
        thread.join()

    outer(inner, in_a_thread).log({"loss": 0.5})
    assert ("inner.log", {"thread": 1.0}, None) in log.logged


def test_subclasses_are_wrapped_whenever_they_are_made(log: Log) -> None:
    class Base:
        seen: ClassVar[list[str]] = []

        def __init_subclass__(cls, tag: str = "", **kwargs: object) -> None:
            super().__init_subclass__(**kwargs)
            Base.seen.append(tag)

        def log(self, values: Mapping[str, object], step: int | None = None) -> None:
            raise NotImplementedError

    class Before(Base, tag="before"):
        def log(self, values: Mapping[str, object], step: int | None = None) -> None:
            pass

    class Silent(Before):
        pass

    tap_subclasses(Base, "log", log, read)

    class After(Base, tag="after"):
        def log(self, values: Mapping[str, object], step: int | None = None) -> None:
            pass

    Before().log({"a": 1})
    Silent().log({"b": 2})
    After().log({"c": 3}, step=4)
    assert log.logged == [
        ("Before.log", {"a": 1.0}, None),
        ("Before.log", {"b": 2.0}, None),
        ("After.log", {"c": 3.0}, 4),
    ]
    assert Base.seen == ["before", "", "after"]


def test_a_method_is_wrapped_once(inner: Any, log: Log) -> None:
    tap(type(inner), "log", log, "again", read)
    inner.log({"a": 1})
    assert len(log.logged) == 1


def test_a_failing_log_is_noted_once(inner: Any) -> None:
    log = Log(fails=True)
    module = library("third.logging", INNER)
    tap(module.Inner, "log", log.log, "third.log", read)  # a method: its owner takes the note
    for _ in range(3):
        assert module.Inner().log({"a": 1}) == 1
    assert log.notes == ["a call of third.log was not recorded: OSError: full"]


def test_without_an_owner_the_note_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    base.note(lambda *_: None, "something went wrong")
    assert capsys.readouterr().err == "sweeper: something went wrong\n"


@pytest.mark.parametrize("name", LOGGERS)
def test_an_unknown_version_of_a_library_is_noted(log: Log, name: str) -> None:
    if name != "wandb":  # nothing is done to it in a process without a trial
        LOGGERS[name](ModuleType(name), log)
        (note,) = log.notes
        assert note.startswith(f"{name} was not prepared for the trial, so what it logs may not be recorded: Attr")


def generator(_self: object, values: Mapping[str, object]) -> Iterator[tuple[Mapping[str, object], object]]:
    for step, name in enumerate(values):
        yield {name: values[name]}, step


def test_one_call_may_log_several_steps(log: Log) -> None:
    module = library("fourth.logging", INNER)
    tap(module.Inner, "log", log, "fourth.log", generator)
    module.Inner().log({"a": 1, "b": 2})
    assert log.logged == [("fourth.log", {"a": 1.0}, 0), ("fourth.log", {"b": 2.0}, 1)]
