"""Nested parameters, as W&B writes them: a group is a mapping with the one key ``parameters``.

``optimizer: {parameters: {lr: {min: ...}, beta: {value: ...}}}`` declares ``optimizer.lr`` and ``optimizer.beta``. From
here on they are parameters like any other, whose names hold a dot: that is how a command gets them
(``--optimizer.lr=1e-3``), and how the command line sets them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.config.read.node import Node, found, grafted


def without_groups(root: Node) -> Node:
    """The file, its parameters and those of its profiles all on one level."""
    profiles = found(root, "profiles")
    places = [(), *(("profiles", name) for name in (profiles.children() if profiles else ()))]
    for place in places:
        path = (*place, "parameters")
        parameters = found(root, *path)
        if parameters is None or not any(_is_group(child) for child in parameters.children().values()):
            continue
        entries = [entry for name, child in parameters.children().items() for entry in _flat(name, child)]
        if len(dict(entries)) == len(entries):  # else two have one name: left as it is, the group is refused
            root = grafted(root, path, Node(where=parameters.where, key=parameters.key, value=dict(entries)))
    return root


def _flat(name: str, node: Node) -> Iterator[tuple[str, Node]]:
    if not _is_group(node):
        yield name, node
        return
    for inner, child in node.children()["parameters"].children().items():
        yield from _flat(f"{name}.{inner}", child)


def _is_group(node: Node) -> bool:
    inner = node.children().get("parameters")
    return node.children().keys() == {"parameters"} and inner is not None and bool(inner.children())
