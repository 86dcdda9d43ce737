"""How this process ends: the exception or the exit code that ends it, for what has to be recorded at exit.

Python gives an uncaught exception to `sys.excepthook`, and gives the code of `sys.exit` to nothing that runs at exit.
Therefore both functions are wrapped while a trial is open. The wrapped functions are called as before.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120 - compared as text


def exit_code_of(error: BaseException | None) -> int:
    """Return the exit code of a Python process that this exception ends, or None if it runs to its end."""
    if error is None:
        return 0
    if not isinstance(error, SystemExit) or not isinstance(error.code, int | None):
        return 1
    return (error.code or 0) & 0xFF


class ExitWatch:
    """Call a function when this process exits, with the exception that ends it, or None.

    A forked child inherits the exit handler and calls the function too. `raise SystemExit(3)` cannot be seen, in
    contrast to `sys.exit(3)`: only the parent of the process learns that exit code.
    """

    def __init__(self, at_exit: Callable[[BaseException | None], None]) -> None:
        self._at_exit = at_exit
        self._uncaught: BaseException | None = None
        self._exit: SystemExit | None = None
        self._mark: weakref.ref[_Mark] | None = None
        self._excepthook, self._sys_exit = sys.excepthook, sys.exit
        sys.excepthook = self._see_uncaught
        sys.exit = self._see_exit
        atexit.register(self._end)

    def close(self) -> None:
        """Call the function no more. What another library has wrapped meanwhile stays, and passes calls on."""
        atexit.unregister(self._end)
        if sys.excepthook == self._see_uncaught:
            sys.excepthook = self._excepthook
        if sys.exit == self._see_exit:
            sys.exit = self._sys_exit
        self._uncaught = self._exit = self._mark = None

    def _end(self) -> None:
        self._at_exit(self._uncaught or self._exit)

    def _see_uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not hasattr(sys, "ps1"):  # an interactive session goes on after an exception
            self._uncaught = error
        _hide_wrappers(error)
        self._excepthook(kind, error, trace)

    def _see_exit(self, code: object = None, /) -> NoReturn:
        try:
            self._sys_exit(code)  # type: ignore[arg-type]  # it takes any object
        except SystemExit as error:
            self._exit = SystemExit(error.code)
            self._exit.__context__ = error.__context__
            vars(error)["_sweeper"] = mark = _Mark()
            self._mark = weakref.ref(mark, self._see_release)
            raise

    def _see_release(self, _: weakref.ref[_Mark]) -> None:
        """Forget the exit code if the script caught the exception, or a thread ended by it.

        The interpreter, which exits by it, releases the exception outside all frames.
        """
        try:
            sys._getframe(1)  # noqa: SLF001
        except ValueError:
            return
        self._exit = None


def _hide_wrappers(error: BaseException | None) -> None:
    """Remove the frames of sweeper that only passed an exception on, from its traceback and those that led to it.

    The loss function or the backward pass of a script may be wrapped. Where sweeper itself fails, its frames stay.
    """
    done: set[int] = set()
    while error is not None and id(error) not in done:
        done.add(id(error))
        entries, entry = [], error.__traceback__
        while entry is not None:
            entries.append(entry)
            entry = entry.tb_next
        own = [one.tb_frame.f_code.co_filename.startswith(_PACKAGE) for one in entries]
        last = max((index for index, is_own in enumerate(own) if not is_own), default=0)
        kept = [one for index, one in enumerate(entries) if not own[index] or index > last or not index]
        for one, after in itertools.pairwise([*kept, None]):
            one.tb_next = after  # type: ignore[union-attr]  # only the last is None
        error = error.__cause__ or error.__context__


class _Mark:
    """An attribute of a `SystemExit`, to learn when that is released: the exception takes no weak reference."""
