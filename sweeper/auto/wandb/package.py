"""Prepare the installed W&B package for a trial: parameters as from W&B's agent, offline, files with the trial."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.auto.loggers.base import note
from sweeper.auto.replacing import replace
from sweeper.auto.wandb import account, setup

PARAMS = "WANDB_SWEEP_PARAM_PATH"
"""The variable by which W&B's own agent passes parameters. `wandb.init` reads the file, and its values win."""


def prepare(module: ModuleType) -> None:
    """Prepare the package `wandb`, right after its import and before the script can call `wandb.init`."""
    trial = setup.current
    if trial is None or hasattr(module, "__sweeper_standin__"):
        return
    os.environ.setdefault("WANDB_DIR", str(trial.directory))
    if trial.params:
        os.environ[PARAMS] = str(_written(trial))
    mode = _Mode(trial)
    replace(module, "init", mode.init)
    replace(module, "login", mode.login)
    for name in ("agent", "sweep"):
        replace(module, name, functools.partial(mode.start_sweep, name))


def _written(trial: setup.Setup) -> Path:
    """Write the parameters as W&B's agent does. Several ranks may do so at once."""
    path = trial.directory / "wandb" / "sweep-parameters.yaml"
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    config_util = import_module("wandb.sdk.lib.config_util")
    config_util.save_config_file_from_dict(
        str(temporary), {name: {"value": value} for name, value in trial.config.items()}
    )
    return temporary.replace(path)


class _Mode:
    """Whether runs are online. That is decided at each call: a script may set WANDB_API_KEY after the import."""

    def __init__(self, trial: setup.Setup) -> None:
        self._trial = trial
        self._has_logged_in = False

    @property
    def _may_be_online(self) -> bool:
        return self._has_logged_in or account.is_configured()

    def init(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `wandb.init`, offline if no account is configured."""
        if not self._may_be_online and kwargs.get("mode") in (None, "online", "shared"):
            if kwargs.get("mode") is not None:
                text = f"wandb.init(mode={kwargs['mode']!r}) was run offline, because no W&B account is configured"
                note(self._trial.log, f"{text}. Log in with: wandb login")
            kwargs["mode"] = "offline"
        if kwargs.get("mode", os.environ.get("WANDB_MODE")) == "disabled" and isinstance(kwargs.get("config"), Mapping):
            # Older versions refuse a disabled run with defaults that differ from the sweep's values.
            kwargs["config"] = {**kwargs["config"], **self._trial.config}
        return original(*args, **kwargs)

    def login(self, original: Callable[..., bool], *args: Any, **kwargs: Any) -> bool:
        """Call `wandb.login` if it has a key or can find one. Otherwise it would ask for one, or fail."""
        has_key = bool(kwargs.get("key")) or (bool(args) and isinstance(args[0], str))
        if not has_key and not self._may_be_online:
            return False  # as in W&B's offline mode
        self._has_logged_in = original(*args, **kwargs) or self._has_logged_in
        return self._has_logged_in

    def start_sweep(self, name: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Refuse to start a W&B sweep in a trial that has parameters, or that cannot reach W&B's server."""
        if self._trial.params or not self._may_be_online:
            raise import_module("wandb.errors").UsageError(setup.refusal_of_agent(name))
        return original(*args, **kwargs)
