"""A Slurm for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sweeper
from tests.slurm.cluster import Cluster, cluster, missing


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running Slurm, with its commands in PATH."""
    if why := missing():
        pytest.skip(why)
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster") as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", running.environment["SLURM_CONF"])
        patch.setenv("PYTHONPATH", str(Path(sweeper.__file__).parents[1]))
        yield running


@pytest.fixture(autouse=True)
def _nothing_left_behind(slurm: Cluster) -> Iterator[None]:
    yield
    slurm.clear()
