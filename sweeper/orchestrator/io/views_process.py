"""The views process of a sweep: started beside it, told to finish by closing its standard input."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from sweeper.config.model.sweep import Figures
from sweeper.record.storage.layout import SweepDir

RESTARTS = 3


class ViewsProcess:
    """Projects the record into TensorBoard runs while the sweep goes on; whatever happens to it, training does not.

    One that dies is started again, `RESTARTS` times at most: it goes on from what it wrote.
    """

    def __init__(self, run: SweepDir, figures: Figures) -> None:
        self._run = run
        self._command = [sys.executable, "-m", "sweeper.views", str(run.path)]
        self._command += ["--figures-every", str(figures.every_steps), "--max-layers", str(figures.max_layers)]
        self._command += ["--most-runs", str(figures.most_runs)]
        self._restarts = 0
        self._finishing = False
        self._process = self._started()

    def keep(self) -> None:
        """Start it again where it died."""
        if self._process.poll() is None or not self.code or self._restarts == RESTARTS:
            return
        self._restarts += 1
        with contextlib.suppress(OSError):  # no memory, or no disk: as good as another death
            self._process = self._started()
        if self._finishing:
            self.finish()

    def finish(self) -> None:
        """Let it draw what is in the record, and end; it needs no more from us than to see its input closed."""
        self._finishing = True
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def ended(self) -> bool:
        """Whether it is done, or dead for good."""
        self.keep()
        return self._process.poll() is not None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.returncode

    def _started(self) -> subprocess.Popen[bytes]:
        with self._run.views_log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"},
                start_new_session=True,
            )
