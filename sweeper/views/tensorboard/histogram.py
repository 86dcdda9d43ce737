"""How update ratios are distributed, as buckets that TensorBoard draws; pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LOWEST, HIGHEST, A_DECADE = -8, 1, 8
DESCRIPTION = (
    "How the update ratios (update norm over parameter norm) of the tensors are distributed. The axis is their decimal "
    "logarithm: -3 is the rule of thumb 1e-3. What lies beyond -8 to 1, zero included, is counted at the edge; what "
    "is undefined, a tensor that started at zero, is not counted."
)


def log_buckets(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rows of left edge, right edge and count, over the decimal logarithms of the values.

    Edges are eighths of a decade from 1e-8 to 1e1, the same for every look, so that looks can be compared; buckets
    beyond the lowest and the highest value are left out. The counts sum to the number of values that are not NaN.
    """
    defined = values[~np.isnan(values)]
    logs = np.log10(np.clip(defined, 10.0**LOWEST, 10.0**HIGHEST))
    edges = np.linspace(LOWEST, HIGHEST, (HIGHEST - LOWEST) * A_DECADE + 1)
    counts, _ = np.histogram(np.clip(logs, LOWEST, HIGHEST), edges)
    occupied = np.flatnonzero(counts)
    shown = slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0)
    return np.column_stack([edges[:-1], edges[1:], counts])[shown]
