"""A Ray cluster of several nodes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sweeper

ENVIRONMENT = {
    "PYTHONPATH": str(Path(sweeper.__file__).parents[1]),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
}


@contextmanager
def started(**head: Any) -> Iterator[Any]:
    """Start a `ray.cluster_utils.Cluster` with a head."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        made = _with_patience(
            lambda: Cluster(head_node_args={"include_dashboard": False, **head}, initialize_head=True)
        )
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def add_node(cluster: Any, **node: Any) -> Any:
    """Add a node to a cluster."""
    return _with_patience(lambda: cluster.add_node(**node))


def _with_patience(start: Callable[[], Any]) -> Any:
    """Start a node; on a busy machine Ray gives up after fifteen seconds, so try several times."""
    for last in (False, False, True):
        try:
            return start()
        except Exception:
            if last:
                raise
    return None
