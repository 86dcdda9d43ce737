"""Replace functions and methods of other libraries, in a way that can be taken back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def replace(owner: Any, name: str, replacement: Callable[..., Any]) -> Callable[[], None]:
    """Replace a function or method by one that receives the original first.

    Args:
        owner: the module or class.
        name: the name of the function.
        replacement: is called with the original and the arguments of the call; what it returns is returned.

    Returns:
        A function that restores the original, unless other code has replaced it in the meantime.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return replacement(original, *args, **kwargs)

    def restore() -> None:
        if getattr(owner, name) is call:
            setattr(owner, name, original)

    setattr(owner, name, call)
    return restore


def call_after(owner: type, method: str, then: Callable[[Any], object]) -> Callable[[], None]:
    """Call a function with the object after each call of a method; return a function that ends this."""

    def both(original: Callable[..., Any], this: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(this, *args, **kwargs)
        then(this)
        return result

    return replace(owner, method, both)
