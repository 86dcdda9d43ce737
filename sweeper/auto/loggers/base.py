"""Wrap a library's logging function, so that its metrics are also given to sweeper."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from types import FrameType
from typing import Any, Protocol

from sweeper.auto.loggers.values import numbers


class Log(Protocol):
    """Where metrics go.

    If the object, or the object that it is a method of, has a method `note(text)`, problems are given to it. Otherwise
    they are printed to standard error.
    """

    def __call__(self, source: str, values: Mapping[str, object], step: int | None = None) -> None:
        """Take metrics that a library has logged.

        Args:
            source: the function that the script called, such as `wandb.log`.
            values: metrics by the name that the script gave them: numbers, or tensors with one element on any device.
                A tensor has to be copied before the call returns, because the script may change it afterwards.
            step: the step that the script gave to the library, in whatever unit; None if it gave none.
        """


Logged = Iterable[tuple[Mapping[Any, object], object]]
"""What one call logs: metrics by name, and their step, as the library was called with them."""

Read = Callable[..., Logged]
"""Return what a call of a function logs. It has the same parameters as the function."""

Entries = list[tuple[dict[str, object], object]]
_LIBRARIES = {"lightning_fabric": "lightning", "pytorch_lightning": "lightning"}
"""Packages that belong to the same library."""

_BETWEEN = frozenset(
    {"aim", "clearml", "comet_ml", "mlflow", "tensorboard", "tensorboardX", "trackio", "wandb", "wrapt"}
)
"""Libraries that log for others or wrap functions, as Comet does with `SummaryWriter`: they do not start a call."""

_logging: ContextVar[tuple[str, ...]] = ContextVar("logging", default=())
"""The libraries that are in the middle of a wrapped call, in this thread."""

_noted: set[str] = set()


def tap(  # noqa: PLR0913 - the last has a default
    owner: type, name: str, log: Log, source: str, read: Read, *, nested: str = "."
) -> None:
    """Wrap a method, so that `log` gets the metrics of each call that succeeds.

    Libraries log through each other: Trainer calls its `WandbCallback`, which calls `wandb.log`. Metrics are recorded
    once: a call that comes from a library that is itself inside a wrapped call is not recorded. A call from the user's
    own code is always recorded, for example from a callback.

    Args:
        owner: the class.
        name: the name of the method.
        log: where the metrics go.
        source: the name of the method in the record, as users know it.
        read: return what a call logs. If it returns nothing, the calls that the library makes inside this call are not
            recorded either.
        nested: the separator between the names of nested mappings.

    Raises:
        AttributeError: the class has no such method, as in an unknown version of the library.
    """
    original: Callable[..., Any] = getattr(owner, name)
    if hasattr(original, "__sweeper_tap__"):
        return
    library = _library(getattr(original, "__module__", None) or owner.__module__)

    @functools.wraps(original)
    def tapped(*args: Any, **kwargs: Any) -> Any:
        outer = _logging.get()
        entries: Entries = []
        failure: Exception | None = None
        if not (outer and _is_from(outer, library)):
            try:  # before the call, in which the library may change the values
                entries = [(numbers(values, nested), step) for values, step in read(*args, **kwargs)]
            except Exception as error:  # noqa: BLE001 - a wrong call, or an unknown version of the library
                failure = error
        token = _logging.set((*outer, library))
        try:
            result = original(*args, **kwargs)
        finally:
            _logging.reset(token)
        for values, step in entries:
            record(log, source, values, step)
        if failure is not None:
            _note_failure(log, source, failure)
        return result

    tapped.__sweeper_tap__ = True  # type: ignore[attr-defined]
    setattr(owner, name, tapped)


def tap_subclasses(owner: type, name: str, log: Log, read: Read) -> None:
    """Wrap a method in each class that is or will be derived from a base class, also in the user's own classes."""
    base: Any = owner
    own: Any = vars(owner).get("__init_subclass__")

    def init_subclass(cls: type[Any], /, **kwargs: Any) -> None:
        if own is None:
            super(base, cls).__init_subclass__(**kwargs)
        else:
            own.__get__(None, cls)(**kwargs)
        tap_own(cls)

    def tap_own(cls: type[Any]) -> None:
        method = vars(cls).get(name)
        if method is not None and not getattr(method, "__isabstractmethod__", False):
            tap(cls, name, log, f"{cls.__name__}.{name}", read)
        for derived in cls.__subclasses__():
            tap_own(derived)

    for derived in base.__subclasses__():
        tap_own(derived)
    base.__init_subclass__ = classmethod(init_subclass)


def record(log: Log, source: str, values: Mapping[Any, object], step: object) -> None:
    """Give the numbers among the values to the log. A failure is noted and never raised."""
    try:
        if found := numbers(values):
            log(source, found, _step(step))
    except Exception as error:  # noqa: BLE001 - the script must not fail because of sweeper
        _note_failure(log, source, error)


def note(log: Log, text: str) -> None:
    """Tell the owner of the log about a problem, once for each text."""
    if text in _noted:
        return
    _noted.add(text)
    take = getattr(log, "note", None) or getattr(getattr(log, "__self__", None), "note", None)
    try:
        if take is not None:
            take(text)
        else:
            sys.stderr.write(f"sweeper: {text}\n")
    except Exception as error:  # noqa: BLE001 - the script must not fail because of sweeper
        sys.stderr.write(f"sweeper: {text}; the note was not recorded: {error}\n")


def _note_failure(log: Log, source: str, error: Exception) -> None:
    note(log, f"a call of {source} was not recorded: {type(error).__name__}: {error}")


def _step(step: object) -> int | None:
    """Return a step as an int, and None for other things, such as a tensor on a device that is still computing it."""
    if hasattr(step, "device") and str(step.device) != "cpu":
        return None
    try:
        return operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        return None


def _is_from(outer: Sequence[str], library: str) -> bool:
    """Return whether the wrapped function was called by one of these libraries, maybe through a library for logging."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - there is no other way
    while frame is not None:
        caller = _library(frame.f_globals.get("__name__", ""))
        if caller in outer:
            return True
        if caller != library and caller not in _BETWEEN:
            return False
        frame = frame.f_back
    return False


def _library(module: str) -> str:
    top = module.partition(".")[0]
    return _LIBRARIES.get(top, top)
