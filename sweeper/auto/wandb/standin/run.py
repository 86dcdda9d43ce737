"""A run of the stand-in."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from sweeper.auto.loggers.base import record
from sweeper.auto.wandb.setup import Setup
from sweeper.auto.wandb.standin.config import Config, Summary, mapping_of
from sweeper.auto.wandb.standin.media import Artifact
from sweeper.auto.wandb.standin.names import UsageError, missing, refused


class Run:
    """What `wandb.init` returns. Numbers that it logs are recorded in the trial; nothing else is kept."""

    entity: str | None
    url = project_url = sweep_url = sweep_id = None
    offline = True
    disabled = resumed = False
    starting_step = 0

    def __init__(self, setup: Setup, **options: Any) -> None:
        environment = os.environ
        self._setup = setup
        self._is_finished = False
        self.id: str = options.get("id") or environment.get("WANDB_RUN_ID") or uuid.uuid4().hex[:8]
        self.name: str = options.get("name") or environment.get("WANDB_NAME") or setup.directory.name
        self.project = options.get("project") or environment.get("WANDB_PROJECT") or "uncategorized"
        self.entity = options.get("entity") or environment.get("WANDB_ENTITY")
        self.notes, self.tags = options.get("notes"), tuple(options.get("tags") or ())
        self.group, self.job_type = options.get("group"), options.get("job_type")
        self.settings = options.get("settings") or SimpleNamespace(mode=options.get("mode"))
        self.start_time = time.time()
        self.step = 0
        given = mapping_of(options.get("config"))
        included, excluded = options.get("config_include_keys"), options.get("config_exclude_keys") or ()
        kept = {name: given[name] for name in given if (not included or name in included) and name not in excluded}
        self.config = Config(kept, setup.config)
        self.summary = Summary(lambda values: record(setup.log, "wandb.summary", values, None))
        parent = Path(options.get("dir") or environment.get("WANDB_DIR") or setup.directory)
        self._dir = parent / "wandb" / f"run-{self.id}" / "files"
        self._dir.mkdir(parents=True, exist_ok=True)

    @property
    def dir(self) -> str:
        """The folder for files of the script."""
        return str(self._dir)

    @property
    def path(self) -> str:
        """The project and the id."""
        return f"{self.project}/{self.id}"

    def project_name(self) -> str:
        """Return the project."""
        return str(self.project)

    def get_url(self) -> None:
        """Return no address: the run has none."""

    get_project_url = get_sweep_url = get_url

    def log(
        self, data: Mapping[str, object], step: int | None = None, commit: object = None, sync: object = None
    ) -> None:
        """Record the numbers.

        Raises:
            TypeError: the data is not a mapping with strings as keys.
            UsageError: the run is finished.
        """
        del sync
        if self._is_finished:
            raise UsageError(f"Run ({self.id}) is finished. The call to `log` will be ignored.")
        if not isinstance(data, Mapping):
            raise TypeError("wandb.log must be passed a dictionary")
        if not all(isinstance(name, str) for name in data):
            raise TypeError("Key values passed to `wandb.log` must be strings.")
        self.summary.keep(data)
        record(self._setup.log, "wandb.log", data, step)
        self.step = self.step if step is None else max(self.step, step)
        if commit or (commit is None and step is None):
            self.step += 1

    def finish(self, exit_code: int | None = None, quiet: object = None) -> None:
        """End the run."""
        del exit_code, quiet
        self._is_finished = True
        module = sys.modules.get("wandb")
        if getattr(module, "run", None) is self:
            module.end_run()  # type: ignore[union-attr]

    join = finish

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def accept(self, *_: object, **__: object) -> None:
        """Do nothing: what W&B would show, copy or upload is not kept."""

    alert = link_artifact = link_model = log_code = log_model = mark_preempting = status = accept
    display = pin_config_keys = to_html = unwatch = watch = write_logs = accept

    def save(self, *_: object, **__: object) -> list[str]:
        """Copy nothing: the files stay where the script wrote them."""
        return []

    def define_metric(self, name: str, *_: object, **__: object) -> SimpleNamespace:
        """Accept how W&B would draw a metric."""
        return SimpleNamespace(name=name)

    def log_artifact(self, artifact_or_path: object, name: str = "", *_: object, **__: object) -> Artifact:
        """Accept an artifact. Its files stay where they are."""
        return artifact_or_path if isinstance(artifact_or_path, Artifact) else Artifact(name or str(artifact_or_path))

    finish_artifact = upsert_artifact = log_artifact
    use_artifact = staticmethod(refused("use_artifact"))
    use_model = staticmethod(refused("use_model"))
    restore = staticmethod(refused("restore"))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing(f"wandb.Run.{name}"))
