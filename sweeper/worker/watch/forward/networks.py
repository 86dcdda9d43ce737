"""Which layers feed each other: the data flow between the modules of a model, from the graph of the first forward pass.

A gradient fades along a path of layers, so only layers on a common path can be compared. The actor and the critic of a
policy stand in one module and share no path; neither do a generator and a discriminator, or two towers of a contrastive
model. Each such group of connected layers is a *network*.

The graph is autograd's own: what a layer gives out remembers by which operation it was made (`grad_fn`), and every
operation knows those before it. Following them from the input of a layer to the nearest outputs of other layers finds
its *parents*, whatever functions stand in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

DEEPEST = 4
"""Nested containers of tensors are looked into so far."""


class DataFlow:
    """The operations that enter and leave each layer at its first call with gradients."""

    def __init__(self) -> None:
        self._inputs: dict[str, list[Any]] = {}
        self._made_by: dict[Any, str] = {}

    def enters(self, layer: str, values: object) -> None:
        """Note the inputs of a layer's call."""
        if layer not in self._inputs and torch.is_grad_enabled():
            self._inputs[layer] = [one.grad_fn for one in tensors_in(values) if one.grad_fn is not None]

    def leaves(self, layer: str, values: object) -> None:
        """Note the outputs of a layer's call."""
        if layer in self._inputs and layer not in self._made_by.values():
            self._made_by |= {one.grad_fn: layer for one in tensors_in(values) if one.grad_fn is not None}

    def parents(self) -> dict[str, frozenset[str]]:
        """For each layer that was called with gradients, the layers that feed it directly; then forgets the graph.

        A layer whose output has no graph, as under reentrant checkpointing, is missing.
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
        """The layers nearest above an operation, itself included; without recursion, since graphs are deep."""
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
    """The layers along the data flow, and to which network each belongs.

    Args:
        order: all layers, in the order in which the forward pass met them.
        parents: as `DataFlow.parents` gives them; where no layer has a parent, nothing is known of the flow, and all
            layers are one network in the order given.
        called: layers that were called themselves; another belongs to the layer before it in `order`, whose function
            uses its weights, as `MultiheadAttention.out_proj`.

    Returns:
        The layers, those nearer to the input first and otherwise as in `order`; and numbers of networks, from 0.
    """
    if len(order) < 2 or not any(parents.values()):  # noqa: PLR2004 - one layer feeds no other
        return list(order), [0] * len(order)
    alone = set(called)
    flow = dict(parents)
    for before, layer in itertools.pairwise(order):
        if layer not in alone and before in flow:
            flow[layer] = frozenset({before})
    depth = _depths(order, flow)
    group = _groups(order, flow)
    along = sorted(order, key=lambda layer: (group[layer], depth[layer]))
    return along, [group[layer] for layer in along]


def _depths(order: Sequence[str], parents: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """How many layers stand above each; a layer met before its parents, as in a recurrence, stands at its own place."""
    depth: dict[str, int] = {}
    for layer in order:
        depth[layer] = max((depth[one] + 1 for one in parents.get(layer, ()) if one in depth), default=0)
    return depth


def _groups(order: Sequence[str], parents: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """The connected groups of layers, numbered by their first layer; one of which nothing is known joins the first."""
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
    """The tensors in what a module was given or gives out: tuples, lists, mappings and dataclasses of them."""
    if isinstance(values, torch.Tensor):
        yield values
    elif deep and isinstance(values, Mapping):
        for one in values.values():
            yield from tensors_in(one, deep - 1)
    elif deep and isinstance(values, tuple | list):
        for one in values:
            yield from tensors_in(one, deep - 1)
