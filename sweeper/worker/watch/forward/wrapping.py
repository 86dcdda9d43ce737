"""Wrapping a public function of `torch.nn.functional` for a while: layers call these functions by the module's name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional


class Wrapping:
    """Calls `look` after each call of a function while it is open, with some of the arguments and what was returned.

    The wrapper is one object however often it is opened, so that code compiled around it is compiled for two functions
    and no more. Within compiled code nothing is looked at.
    """

    def __init__(self, name: str, arguments: Sequence[str], look: Callable[..., None]) -> None:
        """`arguments` are the names of the function's first arguments, in order; `look` gets them and the result."""
        self._name = name
        self._original: Any = getattr(functional, name)

        @functools.wraps(self._original)
        def call(*args: Any, **kwargs: Any) -> object:
            returned: object = self._original(*args, **kwargs)
            if torch.compiler.is_compiling():
                return returned  # compiled code does not look: it would be cut in two by it
            look(*(args[i] if len(args) > i else kwargs.get(word) for i, word in enumerate(arguments)), returned)
            return returned

        self._call = call

    def open(self) -> None:
        """Wrap the function."""
        if getattr(functional, self._name) is not self._call:
            self._original = getattr(functional, self._name)
            setattr(functional, self._name, self._call)

    def close(self) -> None:
        """Put the function back; one that somebody else has wrapped since is left alone."""
        if getattr(functional, self._name) is self._call:
            setattr(functional, self._name, self._original)
