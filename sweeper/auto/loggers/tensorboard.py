"""`SummaryWriter` of torch and of tensorboardX."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap `add_scalar` and `add_scalars`."""
    tap(module.SummaryWriter, "add_scalar", log, "SummaryWriter.add_scalar", _add_scalar)
    tap(module.SummaryWriter, "add_scalars", log, "SummaryWriter.add_scalars", _add_scalars, nested="/")


def _add_scalar(
    _writer: object, tag: str, scalar_value: object, global_step: object = None, *_: object, **__: object
) -> Logged:
    return [({tag: scalar_value}, global_step)]


def _add_scalars(
    _writer: object,
    main_tag: str,
    tag_scalar_dict: Mapping[str, object],
    global_step: object = None,
    *_: object,
    **__: object,
) -> Logged:
    return [({main_tag: tag_scalar_dict}, global_step)]
