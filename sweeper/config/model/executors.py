"""The settings of executors: where a sweep runs. A sweep file has a name, or a mapping with `type` and settings.

The results of trials do not depend on the executor, so it can be changed for an existing run.
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
"""The forms of sbatch(1): minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes and so on."""


class ExecutorSettings(BaseModel):
    """The base of all settings under `executor`."""

    model_config = STRICT
    type: str


class Local(ExecutorSettings):
    """Run trials on this machine, as many at a time as it has room for. Example: `executor: local`."""

    type: Literal["local"] = "local"


class Ray(ExecutorSettings):
    """Run trials on a Ray cluster, for example `executor: {type: ray, address: "10.0.0.1:6379"}`.

    Without `address`, Ray is started on this machine. `resources` are Ray's custom resources of one trial, in addition
    to the sweep's `resources`. Nodes keep running trials in `work_dir`. `runtime_env` is passed to Ray unchanged.
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
            hint = "Ray Client is not supported: run sweeper on a node of the cluster, or by `ray job submit`"
            raise refused("auto, or HOST:PORT of the cluster's head node", hint=hint)
        return address

    @field_validator("work_dir")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith("/"):
            raise refused("an absolute path, because every node uses it")
        return path


class Slurm(ExecutorSettings):
    """Run trials as Slurm jobs, for example `executor: {type: slurm, partition: gpu, time: "2:00:00"}`.

    The settings are options of sbatch. At most `array_parallelism` trials run at a time.
    """

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
        raise refused("a number of minutes, or a time in sbatch's format, such as '90', '1:30:00' or '2-12'")


EXECUTORS: Mapping[str, type[ExecutorSettings]] = {"local": Local, "ray": Ray, "slurm": Slurm}
"""The settings of each executor by its `type`."""


def _typed(executor: object) -> object:
    """Return the executor as a mapping with a type: `ray` is short for `{type: ray}`."""
    if isinstance(executor, ExecutorSettings):
        return executor
    if isinstance(executor, str):
        executor = {"type": executor}
    if not isinstance(executor, Mapping) or "type" not in executor:
        raise refused(f"{listed(EXECUTORS)}, or a mapping with one of these as type")
    name = executor["type"]
    if name not in tuple(EXECUTORS):
        raise refused(f"the type {listed(EXECUTORS)}", got=shown(name), hint=suggested(str(name), EXECUTORS))
    return executor


if TYPE_CHECKING:
    Executor = ExecutorSettings
else:
    Executor = Annotated[Local | Ray | Slurm, Field(discriminator="type"), BeforeValidator(_typed)]
