"""Call a function right after a module was imported."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Protocol

Then = Callable[[ModuleType], None]
"""A function that receives a module after its code was executed."""


class _Finds(Protocol):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None: ...


class Finder:
    """A finder for `sys.meta_path` that finds what the others find, and calls functions once a module is executed.

    Being asked for a spec has no effect: libraries ask `importlib.util.find_spec("torch")` without ever importing it.
    """

    def __init__(self, calls: Mapping[str, Sequence[Then]]) -> None:
        """Keep the functions to call for each name of a module."""
        self._calls = calls
        self._searching: set[str] = set()

    def install(self) -> None:
        """Become the first finder. Modules that are imported already are passed on at once."""
        sys.meta_path.insert(0, self)
        for name, calls in self._calls.items():
            if (module := sys.modules.get(name)) is not None:
                for call in calls:
                    call(module)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders find, with a loader that calls the functions of the module."""
        if name not in self._calls or name in self._searching:
            return None
        self._searching.add(name)
        try:
            spec = _found_by_others(self, name, path, target)
        finally:
            self._searching.discard(name)
        if spec is not None:
            _call_after_execution(spec, self._calls[name])
        return spec


def _found_by_others(
    this: Finder, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in list[_Finds](sys.meta_path):  # type: ignore[arg-type]  # typeshed knows more than the protocol
        find = getattr(finder, "find_spec", None)
        if finder is not this and find is not None and (spec := find(name, path, target)) is not None:
            return spec  # type: ignore[no-any-return]
    return None


def _call_after_execution(spec: ModuleSpec, calls: Sequence[Then]) -> None:
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None:
        return

    def exec_module(module: ModuleType) -> None:
        execute(module)
        for call in calls:
            call(module)

    # A loader of its own would hide what other code asks a loader for, such as the source. Loaders without settable
    # attributes are those of built-in modules, which are none of ours.
    with contextlib.suppress(AttributeError):
        loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
