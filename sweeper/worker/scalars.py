"""What counts as a number, and as a step, wherever a script or a library hands one over.

A number is whatever holds exactly one real number: Python's numbers, Decimal and Fraction, NumPy's scalars, and arrays
and tensors with one element, of NumPy, torch or another library. NaN and the infinities are numbers. This module
imports the standard library only.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping
from numbers import Complex, Real
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex, TypeAlias, TypeGuard

from sweeper.errors import UsageError

if TYPE_CHECKING:
    import torch

Number: TypeAlias = SupportsFloat | SupportsIndex
"""The type of an argument that may be any number."""

LONGEST = 60
"""Maximum number of characters of a value in a message."""
MOST = 2**63
"""Steps are below this number: the record holds 64 bits."""


def number_of(value: object) -> float | torch.Tensor | None:
    """Return the number in a value; None if it holds none.

    A tensor of torch is returned as it is, so that nothing waits for its device. All others become floats.
    """
    if type(value) is float:  # the usual case
        return value
    if isinstance(value, str | bytes):  # text of NumPy has `__float__`
        return None
    if _is_tensor(value):
        usable = value.numel() == 1 and not value.is_complex() and value.device.type != "meta"
        return value if usable else None
    if isinstance(value, Complex) and not isinstance(value, Real):
        return None
    return _float(value)


def _float(value: object) -> float | None:
    """Return what `float` makes of a value; None for text, dates, complex numbers and several elements in an array."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if kind in ("S", "U", "M", "m", "c"):
        return None
    shape = getattr(value, "shape", ())
    try:
        if shape:  # float() of an array of shape (1,) is deprecated
            value = value.reshape(())  # type: ignore[attr-defined]
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None


def is_boolean(value: object) -> bool:
    """Return whether a value is true or false, in any type: of Python, NumPy or torch."""
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def is_on_accelerator(value: float | torch.Tensor) -> TypeGuard[torch.Tensor]:
    """Return whether a number that `number_of` returned is on an accelerator, where it may not be computed yet."""
    return _is_tensor(value) and value.device.type != "cpu"


def number(place: str, value: object) -> float | torch.Tensor:
    """Return the number in an argument, as `number_of` does.

    Args:
        place: the argument in the call, such as `plan(peak_lr=...)`, for the message.
        value: the argument.

    Raises:
        UsageError: the value is not a number.
    """
    found = number_of(value)
    if found is None:
        raise UsageError(f"{place}: expected a number, got {described(value)}{_hint(value)}")
    return found


def numbers_by_name(place: str, values: object) -> dict[str, float | torch.Tensor]:
    """Return the numbers in a mapping of metrics, by name.

    Args:
        place: the call, such as `report`, for the message.
        values: the mapping.

    Raises:
        UsageError: it is not a mapping, or a value is not a number.
    """
    if not isinstance(values, Mapping):
        expected = 'a mapping of names to numbers, such as {"loss/train": 0.5}'
        raise UsageError(f"{place}(values=...): expected {expected}, got {described(values)}")
    found: dict[str, float | torch.Tensor] = {}
    for name, value in values.items():
        one = number_of(value)
        if one is None:
            one = number(f"{place}(values={{{name!r}: ...}})", value)
        found[name if isinstance(name, str) else str(name)] = one
    return found


def whole(place: str, value: object) -> int:
    """Return a whole number of 0 or more, such as a step: 3, 3.0, `np.int64(3)`, `torch.tensor(3)`.

    Args:
        place: the argument in the call, such as `save(step=...)`, for the message.
        value: the argument.

    Raises:
        UsageError: the value is true, false, negative, no whole number, or exceeds 64 bits.
    """
    if type(value) is int and 0 <= value < MOST:  # the usual case
        return value
    found = None if is_boolean(value) else _whole(value)
    if found is None or not 0 <= found < MOST:
        size = " of at most 64 bits" if found is not None and found >= MOST else ""
        raise UsageError(f"{place}: expected a whole number of 0 or more{size}, got {described(value)}")
    return found


def _whole(value: object) -> int | None:
    try:
        return operator.index(value)  # type: ignore[arg-type]  # exact, also above 2**53
    except (TypeError, ValueError, RuntimeError):  # torch raises the latter for several elements
        pass
    found = number_of(value)
    exact = None if found is None else float(found)
    return int(exact) if exact is not None and exact.is_integer() else None


def described(value: object) -> str:
    """Return a value and its type for a message: `'0.5' (str)`, `an array of shape (3,) (ndarray)`."""
    kind = type(value).__name__
    if value is None or isinstance(value, bool):
        return str(value)
    shape = getattr(value, "shape", None)
    if shape:
        return f"values of shape {tuple(shape)} ({kind})"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the repr of a user's class, which must not replace the message
        return f"a {kind}"
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{text} ({kind})"


def _hint(value: object) -> str:
    if value is None:
        return "; leave it out if there is no value"
    if isinstance(value, Mapping):
        return "; join the names, as in train/loss"
    if getattr(value, "shape", None) or isinstance(value, list | tuple):
        return "; report one number of them, such as their mean"
    if isinstance(value, str | bytes):
        return "; convert it by float(...)"
    return ""


def _is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return isinstance(tensor, type) and isinstance(value, tensor)
