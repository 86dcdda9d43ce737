"""What enters each layer at an observed step: dead units, saturation, scale, and whether it depends on the example.

The input of a layer is the activation of the layer before it, whichever function made it, so functional code is seen as
well as modules are. Hooks are registered when the step before an observed one is over, and removed at its end: between
observed steps they cost nothing. Of each input a sample of at most `SAMPLE` entries is read, a strided view and no copy
of the whole, and the values stay on the device until the observation leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sweeper.record.values.depth_profile import ACTIVATIONS
from sweeper.worker.watch.forward.networks import tensors_in

SAMPLE = 1 << 12
FEWEST_ROWS = 32
"""Examples that are read of a wide input, though they are more entries than `SAMPLE`."""
ENOUGH_ROWS = 8
"""With fewer examples neither a unit that is 0 for all of them nor an input that they share says anything."""
NEAR_LIMIT = 0.99
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
TRANSPOSED = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)


class Activations:
    """Measures the inputs of layers at the first training call of each in an observed step."""

    def __init__(self, layers: Mapping[str, torch.nn.Module]) -> None:
        self._layers = layers
        self._seen: dict[str, torch.Tensor] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._given: tuple[torch.Tensor, int, type] | None = None
        self._values = torch.empty(0)

    def open(self) -> None:
        """Measure from the next forward pass on; does nothing where it is measured already."""
        if not self._hooks:
            self._hooks = [
                module.register_forward_pre_hook(self._measures(name), with_kwargs=True)
                for name, module in self._layers.items()
            ]

    def take(self) -> dict[str, torch.Tensor]:
        """What was measured, by layer: float32, shape (5,), as `record.profile.ACTIVATIONS`; ends measuring."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._given = None
        seen, self._seen = self._seen, {}
        return seen

    def _measures(self, name: str) -> Any:  # noqa: ANN401 - a hook of torch's
        def measure(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # Compiled, a hook would be part of the graph of the model.
            if torch.compiler.is_compiling() or name in self._seen or not torch.is_grad_enabled():
                return
            given = next((one for one in tensors_in((args, list(kwargs.values()))) if _is_measurable(one)), None)
            if given is None:
                return
            # Query, key and value of attention are given the same; a tensor changed in place is another one.
            version = 0 if given.is_inference() else given._version  # noqa: SLF001 - torch has no public name for it
            known = (given, version, type(module))
            if self._given is None or known[0] is not self._given[0] or known[1:] != self._given[1:]:
                with torch.no_grad():
                    self._given, self._values = known, measured(_by_unit(module, given.detach()))
            self._seen[name] = self._values

        return measure


def measured(rows: torch.Tensor) -> torch.Tensor:
    """The statistics of `record.profile.ACTIVATIONS` of inputs of shape (examples, units)."""
    stride = max(1, min(rows.shape[0] // FEWEST_ROWS, rows.numel() // SAMPLE))
    sample = rows[::stride].float()
    sizes = sample.abs()
    low, high = torch.aminmax(sample)
    entries = sample.numel()
    scale = sample.square().mean().sqrt()
    near = (sizes > NEAR_LIMIT).count_nonzero()
    # A sigmoid gives what is above 0 and at most 1; a tanh has both signs. Zero itself is a ReLU's, and no limit here.
    sigmoid = (low > 0) & (high <= 1)
    tanh = (low < 0) & (low >= -1) & (high <= 1)
    at_limits = near * (sigmoid | tanh) + (sizes < 1 - NEAR_LIMIT).count_nonzero() * sigmoid
    unknown = torch.full((), torch.nan, device=sample.device)
    several = sample.shape[0] >= ENOUGH_ROWS
    # Deviations from each unit's mean, and not mean square less squared mean: of a constant input nothing is left.
    deviation = (sample - sample.mean(0)).square().mean().sqrt()
    statistics = {
        "dead": 1 - sizes.amax(0).count_nonzero() / sample.shape[1] if several else unknown,
        "zero": 1 - sample.count_nonzero() / entries,
        "saturated": at_limits / entries,
        "scale": scale,
        "spread": torch.where(scale > 0, deviation / scale, 0.0) if several else unknown,
    }
    return torch.stack([statistics[name] for name in ACTIVATIONS])


def _is_measurable(tensor: torch.Tensor) -> bool:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and not tensor.is_sparse
    return plain and tensor.is_floating_point() and tensor.dim() > 1 and tensor.numel() > 0


def _by_unit(module: torch.nn.Module, given: torch.Tensor) -> torch.Tensor:
    """The input with its units in the last of two dimensions: channels of a convolution, else the last dimension.

    Of many examples a few are taken, so that little is copied where the units do not lie last in memory.
    """
    examples = max(ENOUGH_ROWS, SAMPLE * given.shape[0] // given.numel())
    given = given[:: max(1, given.shape[0] // examples)]
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)) and given.dim() == module.weight.dim():
        given = given.movedim(1, -1)
    return given.reshape(-1, given.shape[-1])
