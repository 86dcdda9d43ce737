"""A small stand-in for the package `wandb`, for scripts that import it where it is not installed.

Numbers that are logged are recorded in the trial. Images, tables, artifacts and the like are accepted and not kept.
What needs W&B's server is refused with one sentence. Any other name is an AttributeError, and not a harmless
placeholder: a script that computes with an object that means nothing would be wrong in silence.
"""

from __future__ import annotations

import sys
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

from sweeper.auto.wandb.setup import Setup, refusal_of_agent
from sweeper.auto.wandb.standin import media
from sweeper.auto.wandb.standin.config import Config, Summary
from sweeper.auto.wandb.standin.names import CommError, Error, UsageError, missing, refused
from sweeper.auto.wandb.standin.run import Run


class AlertLevel(Enum):
    """Stands for `wandb.AlertLevel`."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class _NoRun:
    """`wandb.config` and the like while there is no run."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_: object, **__: object) -> None:
        raise Error(f"You must call wandb.init() before {self._name}()")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by inspect and copy
            raise AttributeError(name)
        raise Error(f"You must call wandb.init() before {self._name}.{name}")

    def __getitem__(self, name: str) -> None:
        raise Error(f"You must call wandb.init() before {self._name}[{name!r}]")


OF_RUN = (
    *("config", "summary", "log", "watch", "unwatch", "save", "alert", "define_metric", "mark_preempting"),
    *("log_artifact", "log_model", "log_code", "link_model", "use_artifact", "use_model"),
)
"""Names of the module that belong to the current run."""


class Part(ModuleType):
    """A module of the stand-in."""

    __sweeper_standin__ = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by the import system and by inspect
            raise AttributeError(name)
        raise AttributeError(missing(f"{self.__name__}.{name}"))


class StandIn(Part):
    """The module `wandb`."""

    run: Run | None

    def fill(self, setup: Setup) -> None:
        """Define the names of the module for a trial."""
        self.__dict__.update(
            {
                "__version__": "0.0.0+sweeper",
                "__path__": [],
                "_setup": setup,
                "AlertLevel": AlertLevel,
                "Artifact": media.Artifact,
                "Config": Config,
                "Error": Error,
                "CommError": CommError,
                "Run": Run,
                "Settings": SimpleNamespace,
                "Table": media.Table,
                "UsageError": UsageError,
                **{name: type(name, (media.Media,), {}) for name in media.NAMES},
                **{name: refused(f"wandb.{name}") for name in ("Api", "restore")},
                **{name: refused("", refusal_of_agent(name)) for name in ("agent", "sweep", "controller")},
                **dict.fromkeys(("require", "setup", "teardown", "termlog", "termwarn", "termerror"), _accept),
                "join": self.finish,
                "plot_table": media.Media,
            }
        )
        self._add("errors", Error=Error, CommError=CommError, UsageError=UsageError)
        self._add("plot", **dict.fromkeys(media.PLOTS, media.Media))
        self._add("data_types", **{name: vars(self)[name] for name in (*media.NAMES, "Table")})
        self._add("util", generate_id=_generated_id)
        self._add("sdk")
        self._add("sdk.wandb_run", Run=Run)
        self._add("sdk.wandb_config", Config=Config)
        self._add("sdk.wandb_summary", Summary=Summary)
        self.end_run()

    def _add(self, name: str, **content: object) -> None:
        """Add a submodule that scripts import by its own name."""
        module = Part(f"wandb.{name}")
        module.__dict__.update(content, __path__=[])
        sys.modules[module.__name__] = module
        parent, _, last = module.__name__.rpartition(".")
        setattr(self if parent == "wandb" else sys.modules[parent], last, module)

    def init(self, *args: Any, **options: Any) -> Run:
        """Start a run. A second call returns the current run, as W&B does."""
        if self.run is not None and not options.get("reinit"):
            return self.run
        if isinstance(options.get("config"), str):
            raise UsageError(missing(f"wandb.init(config={options['config']!r}), which reads a file,"))
        text = "images, tables and artifacts are not kept, because the package wandb is not installed"
        sys.stderr.write(f"sweeper: numbers that wandb logs are recorded in the trial; {text}\n")
        positional = dict(
            zip(("entity", "project", "dir", "id", "name", "notes", "tags", "config"), args, strict=False)
        )
        self.run = run = Run(self._setup, **{**positional, **options})
        for name in OF_RUN:
            setattr(self, name, getattr(run, name))
        return run

    def finish(self, *args: object, **kwargs: object) -> None:
        """End the current run, if there is one."""
        del args, kwargs
        if self.run is not None:
            self.run.finish()

    def login(self, *args: object, **kwargs: object) -> bool:
        """Return True: no account is needed."""
        del args, kwargs
        return True

    def end_run(self) -> None:
        """Forget the current run."""
        self.run = None
        for name in OF_RUN:
            setattr(self, name, _NoRun(f"wandb.{name}"))


def _accept(*_: object, **__: object) -> None:
    """Do nothing."""


def _generated_id(length: int = 8) -> str:
    import uuid

    return uuid.uuid4().hex[:length]
