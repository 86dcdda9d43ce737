"""`wandb.config` and `wandb.summary` of the stand-in: mappings with attributes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any


class Attributes(MutableMapping[str, Any]):
    """A mapping with items that are attributes too."""

    def __init__(self) -> None:
        object.__setattr__(self, "_items", {})

    def _put(self, name: str, value: object) -> None:
        self._items[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __setitem__(self, name: str, value: object) -> None:
        self._put(name, value)

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getattr__(self, name: str) -> Any:
        items = vars(self).get("_items", {})  # none yet while a copy is being made
        if name in items:
            return items[name]
        raise AttributeError(f"expected one of {', '.join(items) or 'no names'}, got {name}")

    __setattr__ = __setitem__
    __delattr__ = __delitem__

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return repr(self._items)


class Config(Attributes):
    """The script's configuration, in which the values of the sweep cannot be changed, as under W&B's agent."""

    def __init__(self, given: Mapping[str, Any], sweep: Mapping[str, Any]) -> None:
        super().__init__()
        object.__setattr__(self, "_locked", frozenset(sweep))
        self._items.update({**given, **sweep})

    def _put(self, name: str, value: object) -> None:
        if name not in self._locked:
            self._items[name] = value
        elif value != self._items[name]:
            print(f"wandb: WARNING Config item '{name}' was locked by 'sweep' (ignored update).", file=sys.stderr)  # noqa: T201

    def update(self, d: object = None, allow_val_change: object = None, **values: object) -> None:  # type: ignore[override]  # W&B's
        """Set several items, given as a mapping or as an object such as argparse's namespace."""
        del allow_val_change
        for name, value in {**mapping_of(d), **values}.items():
            self._put(name, value)

    def setdefaults(self, d: object) -> None:
        """Set the items that are not set yet."""
        for name, value in mapping_of(d).items():
            self.setdefault(name, value)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy."""
        return dict(self._items)


class Summary(Attributes):
    """The last value of each metric, and values that the script sets."""

    def __init__(self, logged: Callable[[Mapping[str, object]], None]) -> None:
        super().__init__()
        object.__setattr__(self, "_logged", logged)

    def _put(self, name: str, value: object) -> None:
        self._items[name] = value
        self._logged({name: value})

    def keep(self, data: Mapping[str, object]) -> None:
        """Set items that were logged, and so are recorded already."""
        self._items.update(data)

    def update(self, d: Mapping[str, object] | None = None, **values: object) -> None:  # type: ignore[override]  # W&B's
        """Set several items."""
        for name, value in {**(d or {}), **values}.items():
            self._put(name, value)


def mapping_of(config: object) -> dict[str, Any]:
    """Return a configuration as a dict: of a mapping, a namespace, a dataclass, or the flags of absl.

    Raises:
        TypeError: it is something else.
    """
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    if hasattr(config, "flag_values_dict"):
        return dict(config.flag_values_dict())
    if hasattr(config, "__dict__"):
        return dict(vars(config))
    raise TypeError(f"expected a config that is a mapping or has attributes, got {config!r}")
