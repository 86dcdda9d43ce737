"""Where a sweep runs, as a sweep file has it: the name of an executor, or a mapping with its ``type`` and settings.

Nothing that a trial computes depends on it, so an existing run may change it at any time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, field_validator

from sweeper.mistakes import STRICT, listed, refused, shown, suggested

Text = Annotated[str, Field(min_length=1)]

RAY_CLIENT = "ray://"
SLURM_TIME = re.compile(r"\d+(:\d\d(:\d\d)?)?|\d+-\d\d?(:\d\d(:\d\d)?)?")
"""Forms that sbatch(1) knows: minutes, minutes:seconds, hours:minutes:seconds, days-hours and so on."""


class ExecutorSettings(BaseModel):
    """Anything under ``executor``."""

    model_config = STRICT
    type: str


class Local(ExecutorSettings):
    """Trials run on this machine, as many at a time as it has room for."""

    type: Literal["local"] = "local"


class Ray(ExecutorSettings):
    """Ray places trials on the nodes of a cluster: the one at ``address``, or one that is started on this machine.

    ``resources`` are custom ones that a trial takes beside ``resources`` of the sweep. A node keeps trials below
    ``work_dir`` while they run. ``runtime_env`` is handed to Ray as it is.
    """

    type: Literal["ray"] = "ray"
    address: Text | None = None
    resources: Mapping[Text, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    work_dir: Text | None = None
    runtime_env: Mapping[Text, object] = {}

    @field_validator("address")
    @classmethod
    def _is_no_client(cls, address: str | None) -> str | None:
        if address is not None and address.startswith(RAY_CLIENT):
            hint = "run sweeper on a node of the cluster, or there by `ray job submit`"
            raise refused("auto, or HOST:PORT of the cluster's head", hint=hint)
        return address

    @field_validator("work_dir")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith("/"):
            raise refused("an absolute path, since it is that of every node")
        return path


class Slurm(ExecutorSettings):
    """Slurm runs trials as jobs; the settings are those of sbatch, and at most ``array_parallelism`` run at a time."""

    type: Literal["slurm"] = "slurm"
    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    gres: Text | None = None
    time: Text | Annotated[int, Field(ge=1)] | None = None
    array_parallelism: Annotated[int, Field(ge=1)] | None = None

    @field_validator("time", mode="before")
    @classmethod
    def _is_a_time(cls, time: object) -> object:
        is_minutes = isinstance(time, int) and not isinstance(time, bool) and time >= 1
        if time is None or is_minutes or (isinstance(time, str) and SLURM_TIME.fullmatch(time)):
            return time
        raise refused("minutes, or a time as sbatch takes it: '90', '1:30:00' or '2-12'")


EXECUTORS: Mapping[str, type[ExecutorSettings]] = {"local": Local, "ray": Ray, "slurm": Slurm}
"""The executors by the names that a sweep file gives them."""


def _typed(executor: object) -> object:
    """The executor as a mapping that has its type: ``ray`` is short for ``{type: ray}``."""
    if isinstance(executor, ExecutorSettings):
        return executor
    if isinstance(executor, str):
        executor = {"type": executor}
    if not isinstance(executor, Mapping) or "type" not in executor:
        raise refused(f"{listed(EXECUTORS)}, or a mapping whose type is one of these")
    name = executor["type"]
    if name not in tuple(EXECUTORS):
        raise refused(f"the type {listed(EXECUTORS)}", got=shown(name), hint=suggested(str(name), EXECUTORS))
    return executor


if TYPE_CHECKING:
    Executor = ExecutorSettings
else:
    Executor = Annotated[Local | Ray | Slurm, Field(discriminator="type"), BeforeValidator(_typed)]
