"""Ray itself: joining a cluster or starting one, what a trial takes of it, and how many trials it has room for."""

from __future__ import annotations

import logging
import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeper.errors import UsageError

if TYPE_CHECKING:
    from sweeper.config import Ray, Resources
    from sweeper.executors.machine import Machine

Foreign: TypeAlias = Any
"""What Ray hands out: handles of actors, references to what they answer."""

OWN_CLUSTER = {
    "RAY_AUTH_MODE": "token",  # who has not the token of this user is refused: Ray listens on every interface
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
}
"""What a cluster that is started here has, unless the environment says otherwise."""


def join(settings: Ray, machine: Machine) -> bool:
    """Connect to the cluster that the settings name, or to one that is started on this machine and ends with us.

    Returns False where this process was connected before, to whatever cluster: then it is not ours to leave.

    Raises:
        UsageError: the cluster cannot be reached, or does not start.
    """
    if settings.address is None and "ray" not in sys.modules:  # it reads them when it is imported
        for name, value in OWN_CLUSTER.items():
            os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return False
    if settings.address is None:
        where: dict[str, Foreign] = {
            "address": "local",
            "num_cpus": machine.cores,
            "num_gpus": len(machine.devices),
            "resources": dict(settings.resources),  # one trial's worth: there is nobody else to have them
            "include_dashboard": False,
        }
    else:
        where = {"address": settings.address}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # whatever it is, Ray cannot be had; its own words say why
        came = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        what = "a cluster that can be reached" if settings.address else "a cluster that starts on this machine"
        hint = "is it up, and is the token that of its nodes (RAY_AUTH_MODE)?" if settings.address else "see /tmp/ray"
        address = f" at {settings.address}" if settings.address else ""
        raise UsageError(f"executor: ray: expected {what}{address}, got {came}; {hint}") from error
    return True


def needs_of(settings: Ray, resources: Resources, *, has_gpus: bool) -> Mapping[str, float]:
    """What a trial takes, in Ray's words: a core and, where there are GPUs, one of them, unless the sweep says so."""
    gpus = resources.gpus if resources.gpus is not None else float(has_gpus)
    return {"CPU": resources.cpus or 1, "GPU": gpus, **settings.resources}


def capacity(nodes: Sequence[Mapping[str, Foreign]], needs: Mapping[str, float]) -> int:
    """How many trials fit on the nodes that live, if nobody else were there: each is on one node."""
    return sum(
        min(math.floor(node["Resources"].get(name, 0.0) / amount + 1e-9) for name, amount in needs.items() if amount)
        for node in nodes
        if node["Alive"]
    )


def options_of(needs: Mapping[str, float]) -> dict[str, Foreign]:
    """What is needed, as the options of an actor; Ray restarts and retries nothing."""
    others = {name: amount for name, amount in needs.items() if name not in ("CPU", "GPU")}
    return {
        "num_cpus": needs["CPU"],
        "num_gpus": needs["GPU"],
        "resources": others,
        "max_restarts": 0,
        "max_task_retries": 0,
        "lifetime": "detached",
    }
