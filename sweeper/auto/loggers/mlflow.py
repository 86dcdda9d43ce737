"""MLflow: `mlflow.log_metric`, `mlflow.log_metrics`, and the same with an `MlflowClient`, which both of them call."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap the methods of the client."""
    tap(module.MlflowClient, "log_metric", log, "mlflow.log_metric", _log_metric)
    tap(module.MlflowClient, "log_batch", log, "mlflow.log_metrics", _log_batch)


def _log_metric(
    _client: object,
    _run: object = None,
    key: str = "",
    value: object = None,
    timestamp: object = None,  # noqa: ARG001 - it may be given by position
    step: object = None,
    **_: object,
) -> Logged:
    return [({key: value}, step)]


def _log_batch(_client: object, _run: object = None, metrics: object = (), *_: object, **__: object) -> Logged:
    by_step: dict[object, dict[str, object]] = {}
    for metric in metrics if isinstance(metrics, Sequence) else ():  # an iterator can be read only once
        by_step.setdefault(metric.step, {})[metric.key] = metric.value
    return [(values, step) for step, values in by_step.items()]
