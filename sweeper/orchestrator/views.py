"""The views process of a sweep: started beside it, told to finish by closing its standard input."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from sweeper.record.layout import SweepDir
from sweeper.spec.model import Figures


class ViewsProcess:
    """Projects the record into TensorBoard runs while the sweep goes on; whatever happens to it, training does not."""

    def __init__(self, run: SweepDir, figures: Figures) -> None:
        command = [sys.executable, "-m", "sweeper.views", str(run.path)]
        command += ["--figures-every", str(figures.every_steps), "--max-layers", str(figures.max_layers)]
        with run.views_log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"},
                start_new_session=True,
            )

    def finish(self) -> None:
        """Let it draw what is in the record, and end; it needs no more from us than to see its input closed."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def ended(self) -> bool:
        """Whether it is done."""
        return self._process.poll() is not None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.returncode
