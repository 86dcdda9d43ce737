"""Which curves of all runs are compared on TensorBoard's first screen; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

TITLE = "Runs compared"
OF_TRAINING = r"(?i)^(?!.*(test|val|eval|prior|dev)).*loss"
"""A loss that is no test, validation or prior loss, whatever the script calls it."""


def compared(metric: str) -> Mapping[str, str]:
    """The charts, by title: a pattern that the tags of its curves match from their beginning (`re.match`)."""
    charts = {metric: _only(metric)} if metric else {}
    return {
        **charts,
        "training loss": OF_TRAINING,
        "reach: gradient of the first layers over that of the last": _only("gradient/reach"),
        "update ratio: median over the tensors": _only("update_ratio/median"),
    }


def _only(tag: str) -> str:
    return f"^{re.escape(tag)}$"
