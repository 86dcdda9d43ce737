"""Find which layers feed each other, from the autograd graph of the first forward pass.

A gradient fades along a path of layers, so that only layers on a common path can be compared. The actor and the critic
of a policy may be in one module without a common path, and so may a generator and a discriminator, or two towers of a
contrastive model. Each group of connected layers is a *network*.

The output of a layer has the operation that made it (`grad_fn`), and every operation has its predecessors. The search
follows them from the input of a layer to the nearest outputs of other layers, which are its *parents*, whatever
functions are in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

DEEPEST = 4
"""Maximum depth of nested containers that are searched for tensors."""


class DataFlow:
    """The operations at the input and output of each layer at its first call with gradients."""

    def __init__(self) -> None:
        self._inputs: dict[str, list[Any]] = {}
        self._made_by: dict[Any, str] = {}

    def enters(self, layer: str, values: object) -> None:
        """Record the inputs of a call of a layer."""
        if layer not in self._inputs and torch.is_grad_enabled():
            self._inputs[layer] = [one.grad_fn for one in tensors_in(values) if one.grad_fn is not None]

    def leaves(self, layer: str, values: object) -> None:
        """Record the outputs of a call of a layer."""
        if layer in self._inputs and layer not in self._made_by.values():
            self._made_by |= {one.grad_fn: layer for one in tensors_in(values) if one.grad_fn is not None}

    def parents(self) -> dict[str, frozenset[str]]:
        """Return for each layer that was called with gradients the layers that feed it directly; release the graph.

        A layer without a graph of its output, as with reentrant checkpointing, is missing.
        """
        above: dict[Any, frozenset[str]] = {}
        known = set(self._made_by.values())
        found = {
            layer: frozenset().union(*(self._above(one, above) for one in inputs)) - {layer}
            for layer, inputs in self._inputs.items()
            if layer in known
        }
        self._inputs.clear()
        self._made_by.clear()
        return found

    def _above(self, operation: Any, known: dict[Any, frozenset[str]]) -> frozenset[str]:  # noqa: ANN401 - autograd's
        """Return the nearest layers before an operation, or its own; without recursion, because graphs are deep."""
        stack = [operation]
        while stack:
            top = stack[-1]
            if top in known:
                stack.pop()
            elif top in self._made_by:
                known[top] = frozenset({self._made_by[top]})
            else:
                before = [one for one, _ in top.next_functions if one is not None]
                waiting = [one for one in before if one not in known]
                if waiting:
                    stack += waiting
                else:
                    known[top] = frozenset().union(*(known[one] for one in before))
        return known[operation]


def networks_of(
    order: Sequence[str], parents: Mapping[str, frozenset[str]], *, called: Iterable[str]
) -> tuple[list[str], list[int]]:
    """Return the layers in the order of the data flow, and the network of each.

    Args:
        order: all layers, in the order of their calls in the forward pass.
        parents: from `DataFlow.parents`; if no layer has a parent, the flow is unknown, and all layers are one network
            in the given order.
        called: the layers that were called. Another layer, such as `MultiheadAttention.out_proj`, belongs to the layer
            before it in `order`, which uses its weights.

    Returns:
        The layers, nearest to the input first and otherwise as in `order`; and the numbers of their networks, from 0.
    """
    if len(order) < 2 or not any(parents.values()):  # noqa: PLR2004 - one layer feeds no other
        return list(order), [0] * len(order)
    was_called = set(called)
    flow = dict(parents)
    for before, layer in itertools.pairwise(order):
        if layer not in was_called and before in flow:
            flow[layer] = frozenset({before})
    depth = _depths(order, flow)
    group = _groups(order, flow)
    along = sorted(order, key=lambda layer: (group[layer], depth[layer]))
    return along, [group[layer] for layer in along]


def _depths(order: Sequence[str], parents: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """Return the number of layers before each; parents that are called later, as in a recurrence, do not count."""
    depth: dict[str, int] = {}
    for layer in order:
        depth[layer] = max((depth[one] + 1 for one in parents.get(layer, ()) if one in depth), default=0)
    return depth


def _groups(order: Sequence[str], parents: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """Return the number of the connected group of each layer; a layer with unknown parents joins the first group."""
    root = {layer: layer for layer in order}

    def top(layer: str) -> str:
        while root[layer] != layer:
            layer = root[layer]
        return layer

    first = order[0]
    for layer in order:
        for one in parents.get(layer, () if layer in parents else (first,)):
            if one in root:
                root[top(layer)] = top(one)
    number: dict[str, int] = {}
    return {layer: number.setdefault(top(layer), len(number)) for layer in order}


def tensors_in(values: object, deep: int = DEEPEST) -> Iterator[torch.Tensor]:
    """Yield the tensors in the arguments or results of a module: tensors, and tuples, lists and mappings of them."""
    if isinstance(values, torch.Tensor):
        yield values
    elif deep and isinstance(values, Mapping):
        for one in values.values():
            yield from tensors_in(one, deep - 1)
    elif deep and isinstance(values, tuple | list):
        for one in values:
            yield from tensors_in(one, deep - 1)
