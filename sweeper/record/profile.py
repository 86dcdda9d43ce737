"""The depth profile of the gradient and its reach, from the per-tensor statistics of one observation.

A *layer* is a module that owns a watched tensor of two or more dimensions; layers stand in the order in which the
first forward pass meets them. All functions are pure; NaN means undefined.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.record.events import Watching

STATISTICS = (
    "grad_mean",
    "grad_max",
    "grad_std",
    "grad_zero",
    "grad_norm",
    "param_norm",
    "update_norm",
    "update_ratio",
)
ACTIVATIONS = ("dead", "zero", "saturated", "scale", "spread")
"""What is recorded of the input of a layer at an observed step, over a sample of the batch.

`dead`: share of the units (features or channels) that are 0 for the whole sample. `zero`: share of entries that are 0.
`saturated`: share of entries within 1% of a limit, where all lie within the limits of a sigmoid or a tanh, else 0.
`scale`: root mean square. `spread`: root mean variance over the sample, as a share of `scale`; near 0 where the input
does not depend on the example.
"""

SUMMARIES = ("dead", "dead_mean", "saturated", "scale", "spread", "input_scale")
"""What an observation says of all layers: the largest share of dead units and its mean over the layers that another
layer feeds, the largest `saturated` and `scale` of these, the largest `spread` over the last layer of each network,
and `input_scale`, the largest `scale` of what enters a network. A model with attention also has `attention_logit`, the
largest magnitude of a logit. The first few observations also have `LOSSES`.
"""

LOSSES = ("loss_mismatch", "loss_value", "loss_prior")
"""What the first few observations say of a call of a loss function: `loss_mismatch` is 1 where it was given what it
does not expect, such as probabilities for logits, else 0; `loss_value` is what it returned, and `loss_prior` the loss
of a constant prediction for its targets.
"""

WEIGHTS = ("norm", "without_gradient", "slowest", "equal_units")
"""What an observation says of the watched tensors: the Euclidean norm of all of them before the step (`norm`), which
share of their entries belongs to tensors whose gradient is missing or exactly 0 (`without_gradient`), and where the
model is several networks of two layers or more, the smallest of their median update ratios (`slowest`).

The first few observations also have `equal_units`: of the layers that another layer reads and that have a gradient, the
share whose units all have the same weights after the step. Such units stay equal, as their gradients are equal too.
"""

FEWEST_LAYERS = 4
WIDEST_END = 8
FADED = 0.01
"""A gradient this small beside that of the last layers counts as gone."""
LARGEST_EXPONENT = 709.0
"""math.exp overflows above it."""


def depth_profile(norms: Sequence[float], sizes: Sequence[int], layer_of: Sequence[int], layers: int) -> list[float]:
    """Root-mean-square gradient of each layer, loss per parameter unit; NaN where a layer has no gradient.

    `norms`, `sizes` and `layer_of` stand tensor by tensor: Euclidean norm, entries, and layer (-1: no layer).
    """
    squares, entries = [0.0] * layers, [0] * layers
    for norm, size, layer in zip(norms, sizes, layer_of, strict=True):
        if layer >= 0 and not (math.isnan(norm) and size == 0):
            squares[layer] += norm * norm
            entries[layer] += size
    return [math.sqrt(s / n) if n else math.nan for s, n in zip(squares, entries, strict=True)]


def reach(profile: Sequence[float]) -> float:
    """How much of the gradient at the last layers arrives at the first: 1 is all of it, 0 none.

    Geometric mean of the profile over the first quarter of the layers (1 to 8 of them) over that of the last quarter.
    A ratio, so untouched by clipping, loss scaling and accumulation. NaN below four layers, where a gradient is NaN,
    and where there is none at either end.
    """
    if len(profile) < FEWEST_LAYERS:
        return math.nan
    width = _width(profile)
    first, last = _log_mean(profile[:width]), _log_mean(profile[-width:])
    if math.isnan(first) or math.isnan(last) or first == last == -math.inf:
        return math.nan
    return math.inf if first - last > LARGEST_EXPONENT else math.exp(first - last)


def reaches(profile: Sequence[float]) -> int:
    """The first layer that the gradient still reaches: 0 where it reaches all, -1 where reach is undefined.

    Seen from the last layer, the profile is followed towards the first for as long as its geometric mean over as many
    layers as `reach` takes at either end is at least `FADED` of that over the last of them.
    """
    if math.isnan(reach(profile)):
        return -1
    width = _width(profile)
    floor = _log_mean(profile[-width:]) + math.log(FADED)
    for start in range(len(profile) - width, -1, -1):
        if not _log_mean(profile[start : start + width]) >= floor:
            return start + 1
    return 0


def summary(table: Sequence[float], networks: Sequence[int], fed: Sequence[bool]) -> dict[str, float]:
    """What an observation says of the activations of all layers, by the names in `SUMMARIES`; empty of an empty table.

    Args:
        table: the values of each of `ACTIVATIONS` for each layer, layer by layer, along the data flow.
        networks: the network of each layer.
        fed: whether another layer feeds it; the others are given what enters the network.
    """
    if not table:
        return {}
    width = len(ACTIVATIONS)
    columns = {name: table[start::width] for start, name in enumerate(ACTIVATIONS)}
    inner = [index for index, is_fed in enumerate(fed) if is_fed]
    called = [index for index, spread in enumerate(columns["spread"]) if not math.isnan(spread)]
    last = {networks[index]: index for index in called}
    outer = [index for index, is_fed in enumerate(fed) if not is_fed]
    dead = _known(columns["dead"], inner)
    values = {
        "dead": max(dead, default=math.nan),
        "dead_mean": sum(dead) / len(dead) if dead else math.nan,
        "saturated": max(_known(columns["saturated"], inner), default=math.nan),
        "scale": max(_known(columns["scale"], inner), default=math.nan),
        "spread": max(_known(columns["spread"], list(last.values())), default=math.nan),
        "input_scale": max(_known(columns["scale"], outer), default=math.nan),
    }
    return {name: float(f"{value:.4g}") for name, value in values.items() if not math.isnan(value)}


def weights(columns: Mapping[str, Sequence[float]], watching: Watching, missing: Sequence[bool]) -> dict[str, float]:
    """Return those of `WEIGHTS` that follow from the statistics of each tensor, without those that are undefined.

    Args:
        columns: by the names of `watching.statistics`, the values of all watched tensors.
        watching: the watched tensors.
        missing: of each watched tensor, whether it has no gradient.
    """
    entries, own = sum(watching.sizes), columns.get("param_norm", ())
    tensors = zip(columns["grad_norm"], watching.sizes, missing, strict=True)
    idle = sum(size for norm, size, absent in tensors if absent or norm == 0)
    ratios = columns.get("update_ratio")
    values = {
        "norm": math.hypot(*own) if own else math.nan,
        "without_gradient": idle / entries if entries else math.nan,
        "slowest": slowest(ratios, watching.layer_of, watching.networks) if ratios else math.nan,
    }
    return {name: float(f"{value:.4g}") for name, value in values.items() if not math.isnan(value)}


def slowest(ratios: Sequence[float], layer_of: Sequence[int], networks: Sequence[int]) -> float:
    """Return the smallest median update ratio of a network; NaN where there are no two networks of several layers.

    Args:
        ratios: of each watched tensor, its update ratio.
        layer_of: the layer of each watched tensor (-1: none).
        networks: the network of each layer.
    """
    several = [one for one in sorted(set(networks)) if networks.count(one) > 1]
    if len(several) < 2:  # noqa: PLR2004 - two networks, to compare
        return math.nan
    found: dict[int, list[float]] = {one: [] for one in several}
    for ratio, layer in zip(ratios, layer_of, strict=True):
        if layer >= 0 and networks[layer] in found:
            found[networks[layer]].append(ratio)
    medians = [median(of_network) for of_network in found.values()]
    return min((one for one in medians if not math.isnan(one)), default=math.nan)


def equal_units(
    equal: Sequence[float], layer_of: Sequence[int], networks: Sequence[int], norms: Sequence[float]
) -> float:
    """Return the share of inner layers whose units all have the same weights; NaN where there are none.

    A layer is inner if a later layer belongs to the same network. A layer without a gradient is left out: its weights
    may still be zero by design, as those of an adapter that is not used.

    Args:
        equal: of each watched tensor, 1 if its rows are equal, else 0; NaN where that is unknown.
        layer_of: the layer of each watched tensor (-1: none).
        networks: the network of each layer.
        norms: of each watched tensor, the Euclidean norm of its gradient.
    """
    last = {network: index for index, network in enumerate(networks)}
    found = [
        value
        for value, layer, norm in zip(equal, layer_of, norms, strict=True)
        if layer >= 0 and last[networks[layer]] != layer and norm > 0 and not math.isnan(value)
    ]
    return sum(found) / len(found) if found else math.nan


def _known(values: Sequence[float], which: Sequence[int]) -> list[float]:
    return [values[index] for index in which if not math.isnan(values[index])]


def _width(profile: Sequence[float]) -> int:
    """How many layers are taken together at either end."""
    return max(1, min(WIDEST_END, len(profile) // 4))


def median(values: Sequence[float]) -> float:
    """The median of the finite values, NaN where there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan


def _log_mean(values: Sequence[float]) -> float:
    if any(math.isnan(value) for value in values):
        return math.nan
    return sum(math.log(value) if value > 0 else -math.inf for value in values) / len(values)
