"""Temporary wrappers of functions in `torch.nn.functional`, which layers look up in that module at each call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

_RELAYED: dict[Callable[..., Any], Callable[..., Any]] = {}
"""The original function of each relay."""


class FunctionWrapper:
    """Calls `check` after each call of a function while it is open, with some arguments and the result.

    The wrapper is the same object each time it is opened, so that compiled code around it is compiled for two functions
    only. Calls in compiled code are not checked.
    """

    def __init__(self, name: str, arguments: Sequence[str], check: Callable[..., None]) -> None:
        """Make a wrapper that is closed.

        Args:
            name: the name of the function.
            arguments: the names of its first arguments, in order.
            check: is called with these arguments and the result.
        """
        self._name = name
        self._replaced: Any = getattr(functional, name)
        self._original: Any = _RELAYED.get(self._replaced, self._replaced)

        @functools.wraps(self._replaced)
        def call(*args: Any, **kwargs: Any) -> object:
            returned: object = self._original(*args, **kwargs)
            if torch.compiler.is_compiling():
                return returned  # a check would break the graph of compiled code
            check(*(args[i] if len(args) > i else kwargs.get(word) for i, word in enumerate(arguments)), returned)
            return returned

        self._call = call

    def open(self) -> None:
        """Wrap the function."""
        if getattr(functional, self._name) is not self._call:
            self._replaced = getattr(functional, self._name)
            self._original = _RELAYED.get(self._replaced, self._replaced)
            setattr(functional, self._name, self._call)

    def close(self) -> None:
        """Restore the function, unless other code has wrapped it in the meantime."""
        if getattr(functional, self._name) is self._call:
            setattr(functional, self._name, self._replaced)


def relay(name: str) -> None:
    """Replace a function by one that looks up, when it is called, what the function has been replaced by since.

    In `loss(model(x), y)`, Python looks up `loss` before it calls the model. If the watch begins at the call of the
    model and wraps `loss`, that first call of the loss would not be checked.
    """
    original: Any = getattr(functional, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> object:
        current = getattr(functional, name)
        is_original = torch.compiler.is_compiling() or current is call
        result: object = (original if is_original else current)(*args, **kwargs)
        return result

    _RELAYED[call] = original
    setattr(functional, name, call)
