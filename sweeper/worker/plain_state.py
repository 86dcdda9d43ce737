"""Make the state of a checkpoint loadable as plain data, which is all that torch loads with `weights_only=True`.

A learning rate that is a number of NumPy, a Decimal or the state of NumPy's generator would otherwise be saved, and be
refused when the trial resumes.
"""

from __future__ import annotations

import copy
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any


def plain_state(value: Any) -> Any:  # noqa: ANN401 - anything that can be saved
    """Return the value with numbers of NumPy, Decimal and Fraction as Python's, also in dicts, lists and tuples.

    What needs no change is returned as it is, so that a `state_dict` keeps its version numbers.
    """
    if type(value) is dict:
        return {plain_state(key): plain_state(item) for key, item in value.items()}
    if isinstance(value, dict):
        changed = {key: new for key, item in value.items() if (new := plain_state(item)) is not item}
        if changed:
            value = copy.copy(value)
            value.update(changed)
        return value
    if type(value) in (list, tuple):
        return type(value)(plain_state(item) for item in value)
    if isinstance(value, Decimal | Fraction):
        return float(value)
    generic = getattr(sys.modules.get("numpy"), "generic", None)
    if isinstance(generic, type) and isinstance(value, generic):
        return _of_numpy(value)
    return value


def _of_numpy(value: Any) -> Any:  # noqa: ANN401 - a scalar of NumPy, which may not be installed
    if value.dtype.kind == "U":
        return str(value)
    plain = value.item()  # a number of more than 64 bits stays one of NumPy
    return float(plain) if isinstance(plain, type(value)) else plain


def numpy_types() -> list[Any]:
    """Return the types and functions that arrays of NumPy are pickled with; none if NumPy is not imported.

    They hold data only: objects in an array are still limited to what torch allows.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return []
    functions = {numpy.arange(1).__reduce__()[0], numpy.float64(0).__reduce__()[0]}
    kinds = {type(numpy.dtype(code)) for code in numpy.typecodes["All"]}
    return [numpy.ndarray, numpy.dtype, *functions, *kinds]
