"""Flatten nested parameters, as in W&B: a group is a mapping with the single key ``parameters``.

``optimizer: {parameters: {lr: {min: ...}, beta: {value: ...}}}`` declares ``optimizer.lr`` and ``optimizer.beta``.
After this step they are ordinary parameters with a dot in their name, in the trial's command (``--optimizer.lr=1e-3``)
and on sweeper's command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

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
    return _with_flat_settings(root)


def _with_flat_settings(root: Node) -> Node:
    """Return the file with entries of `start_with` that name no groups: `optimizer.lr` for `optimizer: {lr: ...}`."""
    settings, parameters = found(root, "start_with"), found(root, "parameters")
    if settings is None or parameters is None or not isinstance(settings.value, tuple):
        return root
    names = parameters.children().keys()
    flat = tuple(
        Node(where=entry.where, key=entry.key, value=_flat_setting(entry, names)) if entry.children() else entry
        for entry in settings.value
    )
    return grafted(root, ("start_with",), Node(where=settings.where, key=settings.key, value=flat))


def _flat_setting(entry: Node, names: Collection[str], prefix: str = "") -> dict[str, Node]:
    values: dict[str, Node] = {}
    for name, child in entry.children().items():
        full = f"{prefix}{name}"
        is_group = full not in names and any(known.startswith(f"{full}.") for known in names)
        values |= _flat_setting(child, names, f"{full}.") if is_group and child.children() else {full: child}
    return values


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
