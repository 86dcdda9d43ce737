"""Flatten nested parameters, as in W&B: a group is a mapping with the single key ``parameters``.

``optimizer: {parameters: {lr: {min: ...}, beta: {value: ...}}}`` declares ``optimizer.lr`` and ``optimizer.beta``.
After this step they are ordinary parameters with a dot in their name, in the trial's command (``--optimizer.lr=1e-3``)
and on sweeper's command line.
"""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.config.read.node import Node, found, grafted, without

TEMPLATES = ("x-", ".")
"""Beginnings of keys that are no settings, as in the files of Docker Compose and GitLab."""


def without_groups(root: Node) -> Node:
    """Return the file with the parameters of the sweep and of its profiles on one level."""
    profiles = found(root, "profiles")
    owners = [(), *(("profiles", name) for name in (profiles.children() if profiles else ()))]
    for owner in owners:
        path = (*owner, "parameters")
        parameters = found(root, *path)
        if parameters is None or not any(_is_group(child) for child in parameters.children().values()):
            continue
        entries = [entry for name, child in parameters.children().items() for entry in _flat(name, child)]
        if len(dict(entries)) == len(entries):  # otherwise a name occurs twice: the group is refused later
            root = grafted(root, path, Node(where=parameters.where, key=parameters.key, value=dict(entries)))
    return root


def without_templates(root: Node) -> Node:
    """Return the file without keys that begin with `x-` or a dot. They hold what other places refer to by an alias."""
    if any(name.startswith(TEMPLATES) for name in root.children()):
        return without(root, [name for name in root.children() if name.startswith(TEMPLATES)])
    return root


def nesting_of(root: Node) -> dict[str, tuple[str, ...]]:
    """Return the groups of each grouped parameter of the sweep and of its profiles, followed by its name in them.

    A name with a dot that is in no group is not contained: W&B's agent passes it as it is.
    """
    profiles = found(root, "profiles")
    owners = [root, *(profiles.children().values() if profiles else ())]
    parameters = [node for owner in owners if (node := owner.child("parameters")) is not None]
    paths = [path for node in parameters for name, child in node.children().items() for path in _paths((name,), child)]
    return {".".join(path): path for path in paths if len(path) > 1}


def _paths(path: tuple[str, ...], node: Node) -> Iterator[tuple[str, ...]]:
    if not _is_group(node):
        yield path
        return
    for inner, child in node.children()["parameters"].children().items():
        yield from _paths((*path, inner), child)


def _flat(name: str, node: Node) -> Iterator[tuple[str, Node]]:
    if not _is_group(node):
        yield name, node
        return
    for inner, child in node.children()["parameters"].children().items():
        yield from _flat(f"{name}.{inner}", child)


def _is_group(node: Node) -> bool:
    inner = node.children().get("parameters")
    return node.children().keys() == {"parameters"} and inner is not None and bool(inner.children())
