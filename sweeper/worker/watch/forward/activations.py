"""Statistics of the input of each layer at an observed step: dead units, saturation, scale, and spread over examples.

The input of a layer is the activation of the layer before it, from a module or a function alike. Hooks are registered
before an observed step and removed at its end, so that other steps cost nothing. At an observed step, a hook copies a
sample of about `SAMPLE` entries and computes nothing. After the step, the samples of all layers are measured together,
because on small tensors a call costs more than its arithmetic. The values stay on the device until the observation
leaves it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sweeper.record.values.depth_profile import ACTIVATIONS
from sweeper.worker.watch.forward.networks import tensors_in
from sweeper.worker.watch.forward.wrapping import Hook, Safely, unsafely

SAMPLE = 1 << 12
FEWEST_ROWS = 32
"""Minimum number of rows in a sample of a wide input, even if they have more entries than `SAMPLE`."""
ENOUGH_ROWS = 8
"""With fewer examples, dead units and the spread are undefined."""
TOGETHER = {"cpu": 1 << 17, "other": 1 << 22}
"""Number of entries that are measured together, by device: 0.5 MiB, which stay in a CPU's cache, or 16 MiB."""
NEAR_LIMIT = 0.99
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
TRANSPOSED = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)


class Activations:
    """Measures the input of each layer at its first call with gradients in an observed step."""

    def __init__(self, layers: Mapping[str, torch.nn.Module], safely: Safely = unsafely) -> None:
        self._layers = layers
        self._safely = safely
        self._samples: list[torch.Tensor] = []
        self._sample_of: dict[str, int] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._last: tuple[torch.Tensor, int, bool] | None = None

    def open(self) -> None:
        """Take samples from the next forward pass on; do nothing if this has begun already."""
        if not self._hooks:
            self._hooks = [
                module.register_forward_pre_hook(self._sampling(name, module), with_kwargs=True)
                for name, module in self._layers.items()
                if not isinstance(module, torch.jit.ScriptModule)  # it takes no hooks
            ]

    def close(self) -> None:
        """Remove the hooks and forget the samples."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._last = None
        self._samples, self._sample_of = [], {}

    def take(self, names: Sequence[str], device: torch.device) -> torch.Tensor:
        """Return the statistics `ACTIVATIONS` of `record.values.depth_profile`, and close.

        Returns:
            float32, shape (layers, statistics); NaN for a layer that was not called. Nothing waits for a device.
        """
        values: dict[int, torch.Tensor] = {}
        for indices in _grouped(self._samples):
            table = measured([self._samples[index] for index in indices])
            values |= dict(zip(indices, table.to(device, non_blocking=True).unbind(), strict=True))
        unseen = torch.full((len(ACTIVATIONS),), torch.nan, device=device)
        rows = [values.get(self._sample_of.get(name, -1), unseen) for name in names]
        self.close()
        return torch.stack(rows) if rows else torch.empty(0, len(ACTIVATIONS), device=device)

    def _sampling(self, name: str, layer: torch.nn.Module) -> Any:  # noqa: ANN401 - a hook of torch's
        dimensions = layer.weight.dim() if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)) else -1

        def sample(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = args[0] if args else None
            if not (isinstance(given, torch.Tensor) and _is_measurable(given)):
                given = next((one for one in tensors_in((args, list(kwargs.values()))) if _is_measurable(one)), None)
            if given is None:
                return
            convolved = given.dim() == dimensions
            # Query, key and value of attention may be one tensor. After a change in place, it has to be sampled again.
            version = 0 if given.is_inference() else given._version  # noqa: SLF001 - torch has no public name for it
            if self._last is None or self._last[0] is not given or self._last[1:] != (version, convolved):
                self._last = given, version, convolved
                self._samples.append(sample_of(given.detach(), channels_first=convolved))
            self._sample_of[name] = len(self._samples) - 1

        def hook(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # If it were compiled, the hook would become part of the graph of the model.
            if not torch.compiler.is_compiling() and name not in self._sample_of and torch.is_grad_enabled():
                self._safely(sample, args, kwargs)

        return Hook(hook)


def sample_of(given: torch.Tensor, *, channels_first: bool) -> torch.Tensor:
    """Copy a sample of an input, shape (rows, units): all units at some positions of some examples.

    Args:
        given: the input of a layer.
        channels_first: the units are the channels of a convolution, and not the last dimension.
    """
    examples, positions = _slices(given.shape, channels_first)
    if channels_first:
        rows = given.flatten(2)[examples, :, positions].transpose(1, 2)
    elif given.dim() > 2:  # noqa: PLR2004 - examples by units
        rows = given.flatten(1, -2)[examples, positions]
    else:
        rows = given[examples]
    copied = rows.clone(memory_format=torch.contiguous_format)  # the model may change its input in place
    return copied.view(-1, copied.shape[-1])


@functools.lru_cache(maxsize=1024)
def _slices(shape: torch.Size, channels_first: bool) -> tuple[slice, slice]:  # noqa: FBT001 - a key of the cache
    """Return which examples of an input of this shape are sampled, and which positions of each."""
    examples, units = shape[0], shape[1] if channels_first else shape[-1]
    width = shape[-1] if channels_first else shape[-2]
    positions = shape.numel() // (examples * units)
    # A power of two, so that layers of different widths can be measured together.
    wanted = max(FEWEST_ROWS, 1 << (SAMPLE // units).bit_length() >> 1)
    read = min(examples, max(ENOUGH_ROWS, wanted // positions))
    of_each = min(positions, -(-wanted // read))
    stride = positions // of_each
    while math.gcd(stride, width) > 1:  # otherwise all positions may be in a few columns of an image
        stride -= 1
    every = examples // read
    return slice(0, read * every, every), slice(0, of_each * stride, stride)


def measured(samples: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the statistics `ACTIVATIONS`, shape (layers, statistics), of samples with equally many rows.

    All units of all samples are columns of one matrix. The values of units are averaged over the units of each layer.
    """
    units = [one.shape[1] for one in samples]
    values = torch.cat(list(samples), dim=1).float()
    rows = values.shape[0]
    sizes, room = values.abs(), torch.empty_like(values)
    low, high = values.amin(0), values.amax(0)
    table = values.new_empty(9, values.shape[1])
    square, variance, dead, negative, in_sigmoid, in_tanh, zero, near, small = table.unbind()
    torch.mean(torch.square(values, out=room), 0, out=square)
    # Deviations from the mean of each unit are exactly 0 for a constant input; mean square minus squared mean is not.
    torch.mean(torch.sub(values, values.mean(0), out=room).square_(), 0, out=variance)
    # Comparisons write floats, because on a CPU it takes several times as long to create and sum bools.
    torch.eq(sizes.amax(0), 0, out=dead)
    torch.lt(low, 0, out=negative)
    below = high <= 1
    torch.gt(low, 0, out=in_sigmoid).mul_(below)
    torch.ge(low, -1, out=in_tanh).mul_(below)
    torch.mean(torch.eq(sizes, 0, out=room), 0, out=zero)
    torch.mean(torch.gt(sizes, NEAR_LIMIT, out=room), 0, out=near)
    torch.mean(torch.lt(sizes, 1 - NEAR_LIMIT, out=room), 0, out=small)
    of_layers = torch.stack([part.mean(1) for part in table.split(units, dim=1)], dim=1)
    square, variance, dead, negative, in_sigmoid, in_tanh, zero, near, small = of_layers.unbind()
    # The values of a sigmoid are above 0 and at most 1, and those of a tanh have both signs. Zeros come from a ReLU.
    sigmoid, tanh = in_sigmoid == 1, (in_tanh == 1) & (negative > 0)
    unknown, several = torch.full_like(square, torch.nan), rows >= ENOUGH_ROWS
    statistics = {
        "dead": dead if several else unknown,
        "zero": zero,
        "saturated": near * (sigmoid | tanh) + small * sigmoid,
        "scale": square.sqrt(),
        "spread": torch.where(square > 0, (variance / square).sqrt(), 0.0) if several else unknown,
    }
    return torch.stack([statistics[name] for name in ACTIVATIONS], dim=1)


def _grouped(samples: Sequence[torch.Tensor]) -> list[list[int]]:
    """Return groups of samples to measure together: equal rows, type and device, and few enough entries for a cache."""
    groups: dict[Any, list[list[int]]] = {}
    entries: dict[Any, int] = {}
    for index, one in enumerate(samples):
        kind, most = (one.shape[0], one.dtype, one.device), TOGETHER["cpu" if one.device.type == "cpu" else "other"]
        if kind not in groups or entries[kind] + one.numel() > most:
            groups.setdefault(kind, []).append([])
            entries[kind] = 0
        groups[kind][-1].append(index)
        entries[kind] += one.numel()
    return [part for parts in groups.values() for part in parts]


def _is_measurable(tensor: torch.Tensor) -> bool:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    return plain and tensor.is_floating_point() and tensor.dim() > 1 and tensor.numel() > 0
