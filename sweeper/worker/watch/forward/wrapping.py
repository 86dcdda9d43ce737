"""What the watch adds to other code for a while: hooks of modules, and wrappers of functions in `torch.nn.functional`.

Layers look up these functions in that module at each call.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

Safely = Callable[..., Any]
"""Calls a function with arguments; it may keep the exceptions of the function from the script."""


def unsafely(action: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - that of the function
    """Call a function, and let its exceptions reach the script."""
    return action(*args)


class Hook:
    """A hook of a module that stays behind when the module is copied, pickled or saved.

    In the copy is a function of the standard library that does nothing, so that a saved model can be loaded anywhere.
    """

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *args: object) -> None:
        """Call the function."""
        self._call(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")


@dataclass(slots=True)
class _Relayed:
    """What a relay calls: the original function, or the wrapper that is open."""

    original: Callable[..., Any]
    target: Callable[..., Any]


_RELAYS: dict[Callable[..., Any], _Relayed] = {}


class FunctionWrapper:
    """Calls `check` after each call of a function while it is open, with some arguments and the result.

    The wrapper is the same object each time it is opened, so that compiled code around it is compiled for two functions
    only. Calls in compiled code are not checked.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], check: Callable[..., None], safely: Safely = unsafely
    ) -> None:
        """Make a wrapper that is closed.

        Args:
            name: the name of the function.
            arguments: the names of its first arguments, in order.
            check: is called with these arguments and the result.
            safely: calls `check`.
        """
        self._name = name
        self._replaced: Any = getattr(functional, name)
        self._original: Any = self._replaced

        @functools.wraps(self._replaced)
        def call(*args: Any, **kwargs: Any) -> object:
            returned: object = self._original(*args, **kwargs)
            if torch.compiler.is_compiling():
                return returned  # a check would break the graph of compiled code
            given = [args[i] if len(args) > i else kwargs.get(word) for i, word in enumerate(arguments)]
            safely(check, *given, returned)
            return returned

        self._call = call

    def open(self) -> None:
        """Wrap the function."""
        current = getattr(functional, self._name)
        if (relayed := _RELAYS.get(current)) is not None:
            self._original, relayed.target = relayed.original, self._call
        elif current is not self._call:
            self._original = self._replaced = current
            setattr(functional, self._name, self._call)

    def close(self) -> None:
        """Restore the function, unless other code has wrapped it in the meantime."""
        current = getattr(functional, self._name)
        relayed = _RELAYS.get(current)
        if relayed is not None and relayed.target is self._call:
            relayed.target = relayed.original
        elif current is self._call:
            setattr(functional, self._name, self._replaced)


def relay(name: str) -> None:
    """Replace a function for good by one that calls it, or the wrapper that is open when it is called.

    In `loss(model(x), y)`, Python looks up `loss` before it calls the model. If the watch begins at the call of the
    model and wraps `loss`, that first call of the loss would not be checked.

    A model may have the function as an attribute, and is pickled only while the function is what its module has under
    its name. Therefore a relay is made before the script can use the function, and stays.
    """
    original: Any = getattr(functional, name)
    if original in _RELAYS:
        return
    known = _Relayed(original, original)

    def call(*args: Any, **kwargs: Any) -> object:
        result: object = (original if torch.compiler.is_compiling() else known.target)(*args, **kwargs)
        return result

    # TorchScript compiles the source of the original, and looks up its names in the globals of the relay.
    function: Any = types.FunctionType(call.__code__, vars(functional), name, None, call.__closure__)
    _RELAYS[function] = known
    setattr(functional, name, functools.update_wrapper(function, original))
