"""Read the metrics that an unmodified script logs with libraries, such as W&B, TensorBoard and MLflow.

Each file of this package knows one library. It is imported only after the script has imported that library, and wraps
the functions that log metrics. The library behaves as before: it gets the same arguments, and its results and
exceptions reach the script. A failure here is noted once and never reaches the script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType

from sweeper.auto.loggers.base import Log, note

_FILES: Mapping[str, tuple[str, ...]] = {
    "accelerate": ("accelerate.accelerator", "accelerate.tracking"),
    "aim": ("aim.sdk.run",),
    "clearml": ("clearml.logger",),
    "comet": ("comet_ml.experiment",),
    "lightning": tuple(
        f"{top}{module}"
        for top, module in (
            ("lightning", ".fabric.fabric"),
            ("lightning", ".fabric.loggers.logger"),
            ("lightning", ".pytorch.trainer.connectors.logger_connector.logger_connector"),
            ("lightning_fabric", ".fabric"),
            ("lightning_fabric", ".loggers.logger"),
            ("pytorch_lightning", ".trainer.connectors.logger_connector.logger_connector"),
        )
    ),
    "mlflow": ("mlflow.tracking.client",),
    "tensorboard": ("torch.utils.tensorboard.writer", "tensorboardX.writer"),
    "trackio": ("trackio.run",),
    "transformers": ("transformers.trainer",),
    "wandb": (
        "wandb",
        "wandb.sdk.wandb_run",
        "wandb.sdk.wandb_summary",
        "wandb.sdk.lib.disabled",
        "wandb.sdk.lib.noop_run",
    ),
}
"""The files of this package, each with the modules of its library; it is called once they are imported."""


def _install(file: str, module: ModuleType, log: Log) -> None:
    """Wrap the logging functions of a module that was just imported. A failure is noted and never raised."""
    try:
        import_module(f"{__name__}.{file}").install(module, log)
    except Exception as error:  # noqa: BLE001 - the script must not fail because of sweeper
        text = f"{module.__name__} was not prepared for the trial, so what it logs may not be recorded"
        note(log, f"{text}: {type(error).__name__}: {error}")


LOGGERS: Mapping[str, Callable[[ModuleType, Log], None]] = {
    module: partial(_install, file) for file, modules in _FILES.items() for module in modules
}
"""What to call, with the module and the log, right after the import of a module. No call raises an exception."""
