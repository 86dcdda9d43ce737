"""What the stand-in does not have: an attribute error for unknown names, and a refusal for what needs W&B's server."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


class Error(Exception):
    """Stands for `wandb.Error`."""


class UsageError(Error):
    """Stands for `wandb.errors.UsageError`."""


class CommError(Error):
    """Stands for `wandb.errors.CommError`."""


def missing(name: str) -> str:
    """Return what to tell a script that uses a part of W&B that the stand-in does not have."""
    return (
        f"{name} is not part of the stand-in that sweeper provides because the package wandb is not installed. "
        "Install it: pip install wandb"
    )


def refused(name: str, reason: str = "") -> Callable[..., NoReturn]:
    """Return a function that refuses: by default, because the name needs W&B's server."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise UsageError(reason or f"{name} needs W&B's server, and the package wandb is not installed")

    return refuse
