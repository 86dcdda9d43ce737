"""Rows 3 and 15 of the fault matrix: signals to shims, workers and the views process, also while they start."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
from collections.abc import Iterator, Sequence

from sweeper.record.causes import Cause
from tests.faults import launches
from tests.faults.harness import Fault, Scene
from tests.faults.sweeps import LAUNCHES, LOUD, Site

POINTS = {
    launch: sorted(point for point in table.values() if not point.endswith(("at-work", "at-end", "MARK")))
    for launch, table in launches.TABLES.items()
}
"""Those of the launches that the scripts of the sweeps come to, too."""
SEED = re.compile(r"-(\d+)-")
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def at_a_point(site: Site) -> Iterator[None]:
    """The first process that comes to a point of a launch signals itself or its shim; the seed chooses both."""
    seed = int(SEED.findall(site.folder.name)[-1])  # of `harness.trial_of`
    chosen = random.Random(seed)
    site.environment |= launches.environment()
    site.environment["POINT"] = chosen.choice(POINTS[LAUNCHES[seed % 2]])
    site.environment["POINT_SIGNAL"] = str(int(chosen.choice(launches.SIGNALS)))
    site.environment["POINT_MARK"] = str(site.folder / "signalled")
    yield


def come_to_the_point(scene: Scene) -> None:
    """A worker that is interrupted is an error of its script, and fails until the next call."""
    scene.expect_end(0, 1)


def signal_shim(scene: Scene) -> None:
    """It passes on what asks for an end, and ends itself with its worker."""
    shim = scene.shim()
    if shim is None:
        return
    number = scene.random.choice((*ASKING, signal.SIGQUIT, signal.SIGUSR1))
    attempts = dict(scene.site.running())
    with contextlib.suppress(ProcessLookupError):
        os.kill(shim, number)
    scene.expect_end(0)
    if shim in attempts:
        trial = scene.site.trial(attempts[shim].trial.number)
        ended = trial.attempts[attempts[shim].number - 1].exit if trial is not None else None
        lost = ended is None or ended.cause == Cause.LOST
        scene.expect(not lost, f"{attempts[shim].path}: expected an end on the record after {number.name}")


def signal_views(scene: Scene) -> None:
    """It goes on, or is started again, and in the end all is drawn."""
    for _ in range(2):
        found = [pid for pid, command in scene.site.processes().items() if " sweeper.views.tensorboard " in command]
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[0], scene.random.choice(ASKING))


FAULTS: Sequence[Fault] = (
    Fault(
        name="launch-signalled",
        row=3,
        title="a signal to a shim or a worker at a point of its launch: SIGTERM, SIGKILL, SIGINT or SIGHUP",
        inject=come_to_the_point,
        kind=LOUD,
        around=at_a_point,
        survived=False,
    ),
    Fault(
        name="shim-signalled",
        row=3,
        title="SIGTERM, SIGINT, SIGHUP, SIGQUIT or SIGUSR1 to a shim",
        inject=signal_shim,
    ),
    Fault(
        name="views-signalled",
        row=15,
        title="SIGTERM, SIGINT or SIGHUP to the views process, also while it imports: it is started again",
        inject=signal_views,
    ),
)
