"""The Ray cluster: connect to one or start one, resources of a trial, and the number of trials that fit."""

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
"""Objects of Ray: handles of actors, and references to their results (`ObjectRef`)."""

OWN_CLUSTER = {
    "RAY_AUTH_MODE": "token",  # Ray listens on every interface; only clients with this user's token are accepted
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
}
"""Environment variables of a cluster that sweeper starts on this machine, unless they are set already."""


def join(settings: Ray, machine: Machine) -> bool:
    """Connect to the cluster at `settings.address`; without an address, start one on this machine.

    A cluster that is started here ends with this process.

    Returns:
        False if this process was connected to a cluster before; then the caller must not disconnect it.

    Raises:
        UsageError: The cluster cannot be reached, or does not start.
    """
    if settings.address is None and "ray" not in sys.modules:  # Ray reads them when it is imported
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
            "resources": dict(settings.resources),  # custom resources for one trial: no other sweep uses this cluster
            "include_dashboard": False,
        }
    else:
        where = {"address": settings.address}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises errors of many types; the message of the error explains the reason
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        if settings.address:
            failed = f"cannot connect to the cluster at {settings.address}"
            hint = "check that it runs, and that RAY_AUTH_MODE and the token are those of its nodes"
        else:
            failed, hint = "cannot start a cluster on this machine", "its logs are in /tmp/ray"
        raise UsageError(f"executor: ray: {failed}: {reason}; {hint}") from error
    return True


def needs_of(settings: Ray, resources: Resources, *, has_gpus: bool) -> Mapping[str, float]:
    """Return the resources of a trial under Ray's names (default: one core, and one GPU if the cluster has any)."""
    gpus = resources.gpus if resources.gpus is not None else float(has_gpus)
    return {"CPU": resources.cpus or 1, "GPU": gpus, **settings.resources}


def capacity(nodes: Sequence[Mapping[str, Foreign]], needs: Mapping[str, float]) -> int:
    """Return how many trials fit on the live nodes if nothing else runs there; a trial does not span nodes."""
    return sum(
        min(math.floor(node["Resources"].get(name, 0.0) / amount + 1e-9) for name, amount in needs.items() if amount)
        for node in nodes
        if node["Alive"]
    )


def options_of(needs: Mapping[str, float]) -> dict[str, Foreign]:
    """Return the options of an actor with these resources, which Ray neither restarts nor retries."""
    others = {name: amount for name, amount in needs.items() if name not in ("CPU", "GPU")}
    return {
        "num_cpus": needs["CPU"],
        "num_gpus": needs["GPU"],
        "resources": others,
        "max_restarts": 0,
        "max_task_retries": 0,
        "lifetime": "detached",
    }
