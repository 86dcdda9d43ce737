"""ClearML: `Logger.report_scalar` and `Logger.report_single_value`."""

from __future__ import annotations

from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap the methods of the logger."""
    tap(module.Logger, "report_scalar", log, "Logger.report_scalar", _report_scalar)
    tap(module.Logger, "report_single_value", log, "Logger.report_single_value", _report_single_value)


def _report_scalar(_self: object, title: str, series: str, value: object, iteration: object) -> Logged:
    return [({title if title == series else f"{title}/{series}": value}, iteration)]


def _report_single_value(_self: object, name: str, value: object) -> Logged:
    return [({name: value}, None)]
