"""Make the recorded observation of a step from the values that were computed on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.record.events import Observation, Watching
from sweeper.record.values.depth_profile import depth_profile, equal_units, median, reach, reaches, summary, weights
from sweeper.worker.watch.forward.losses import FIELDS as LOSS_FIELDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """All that is known of an observed step before its values have arrived from the device.

    Attributes:
        watching: the watched tensors and layers.
        fed: for each layer, whether another layer feeds it.
        step: the optimizer step.
        rates: the learning rates that are known on the host.
        skipped: the steps that a gradient scaler skipped, as far as known on the host.
        withheld: the steps that were skipped because of a spike.
        clipped: whether the gradients were measured after clipping.
        missing: for each watched tensor, whether it has no gradient.
        compared: the number of values on whether units are equal.
        others: the number of values after these: losses, attention, skipped steps and learning rates.
    """

    watching: Watching
    fed: Sequence[bool]
    step: int
    rates: Sequence[float]
    skipped: int
    withheld: int
    clipped: bool
    missing: Sequence[bool]
    compared: int
    others: int

    def row(self, values: list[float]) -> list[float]:
        """Return the part of the values that is written to the file of statistics: tensors, then activations."""
        return values[: -self.others - self.compared]

    def observation(self, values: list[float], row: int, checksum: int = -1) -> Observation:
        """Return the observation.

        Args:
            values: all values from the device, in the order of the attributes.
            row: the number of the row in the file of statistics.
            checksum: the CRC-32 of the row.
        """
        watching, missing = self.watching, self.missing
        losses, (logit, skipped, *rates) = _split(values[-self.others :], len(LOSS_FIELDS))
        tensors, activations = _split(self.row(values), len(missing) * len(watching.statistics))
        columns = {name: tensors[i :: len(watching.statistics)] for i, name in enumerate(watching.statistics)}
        norms, ratios = columns["grad_norm"], columns.get("update_ratio", [])
        present = [norm for norm, absent in zip(norms, missing, strict=True) if not absent]
        profile = depth_profile(norms, watching.sizes, watching.layer_of, len(watching.layers))
        lowest, first = _lowest_reach(profile, watching, missing)
        summaries = summary(activations, watching.networks, self.fed)
        if not math.isnan(logit):
            summaries["attention_logit"] = float(f"{logit:.4g}")
        summaries |= {f"loss_{name}": v for name, v in zip(LOSS_FIELDS, losses, strict=True) if not math.isnan(v)}
        return Observation(
            step=self.step,
            row=row,
            reach=lowest,
            reaches=first,
            update_ratio=median([one for one, absent in zip(ratios, missing, strict=False) if not absent]),
            gradient_norm=math.hypot(*present) if present else math.nan,
            gradient_zero=_largest_zero_share(columns.get("grad_zero", []), watching.layer_of),
            learning_rate=max([*self.rates, *rates], default=math.nan),
            clipped=self.clipped,
            skipped=self.skipped + self.withheld + int(skipped),
            withheld=self.withheld,
            missing=sum(missing),
            not_finite=_not_finite(norms, columns.get("param_norm", []), missing),
            activations=summaries,
            weights=self._weights(columns, values),
            row_crc=checksum,
        )

    def _weights(self, columns: dict[str, list[float]], values: list[float]) -> dict[str, float]:
        found = weights(columns, self.watching, self.missing)
        equal = values[-self.others - self.compared : -self.others]
        if equal:
            share = equal_units(equal, self.watching.layer_of, self.watching.networks, columns["grad_norm"])
            if not math.isnan(share):
                found["equal_units"] = float(f"{share:.4g}")
        return found


def _split(values: list[float], count: int) -> tuple[list[float], list[float]]:
    return values[:count], values[count:]


def _largest_zero_share(shares: Sequence[float], layer_of: Sequence[int]) -> float:
    """Return the largest share of zeros in the gradient of a tensor that belongs to a layer; NaN if none is known."""
    known = [share for share, layer in zip(shares, layer_of, strict=False) if layer >= 0 and not math.isnan(share)]
    return max(known, default=math.nan)


def _not_finite(norms: Sequence[float], weight_norms: Sequence[float], missing: Sequence[bool]) -> int:
    """Return the number of tensors with a gradient or weight that is not finite."""
    return sum(
        not (absent or math.isfinite(norm)) or not math.isfinite(weight)
        for norm, absent, weight in zip(norms, missing, weight_norms or [0.0] * len(norms), strict=True)
    )


def _lowest_reach(profile: Sequence[float], watching: Watching, missing: Sequence[bool]) -> tuple[float, int]:
    """Return the smallest reach of a network, and the first layer that its gradient reaches; NaN and -1 if undefined.

    Layers without any gradient, such as an unused head, are left out.
    """
    with_gradient = {layer for layer, absent in zip(watching.layer_of, missing, strict=True) if not absent}
    lowest, first = math.nan, -1
    for network in sorted(set(watching.networks)):
        members = [i for i, one in enumerate(watching.networks) if one == network and i in with_gradient]
        part = [profile[i] for i in members]
        if not reach(part) >= lowest:
            lowest, found = reach(part), reaches(part)
            first = members[found] if 0 <= found < len(members) else found
    return lowest, first
