"""Run the views process of a sweep, which draws TensorBoard files; closing its standard input makes it finish."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from sweeper.config.model.sweep import FigureSettings
from sweeper.record.causes import signal_of_code
from sweeper.record.interpreter import isolated_python
from sweeper.record.signals import blocked
from sweeper.record.storage import confined
from sweeper.record.storage.layout import SweepDir

RESTARTS = 3


class ViewsProcess:
    """A process that draws the TensorBoard files while the sweep runs; its failures do not affect training.

    If the process dies or a signal ends it, it is restarted, at most `RESTARTS` times, and continues from what it has
    written. The first such end is reported to the user.
    """

    def __init__(self, run: SweepDir, figures: FigureSettings, say: Callable[[str], None]) -> None:
        self._run = run
        self._say = say
        self._command = [*isolated_python(), "-m", "sweeper.views.tensorboard", str(run.path)]
        self._command += ["--figures-every", str(figures.every_steps), "--max-layers", str(figures.max_layers)]
        self._command += ["--most-runs", str(figures.most_runs)]
        self._restarts = 0
        self._finishing = False
        self._process = self._start()

    def keep_running(self) -> None:
        """Restart the process if it died."""
        if self._process.poll() is None or not self.code or self._restarts == RESTARTS:
            return
        if not self._restarts:
            self._say(f"The process that writes the TensorBoard files ended ({self._end()}) and is started again")
        self._restarts += 1
        self._close_stdin()
        with contextlib.suppress(OSError):  # no memory or no disk space: counts as another failure
            self._process = self._start()
        if self._finishing:
            self.finish()

    def finish(self) -> None:
        """Close its standard input, so that it draws the rest of the record and exits."""
        self._finishing = True
        self._close_stdin()

    def ended(self) -> bool:
        """Return whether the process has finished, or has failed for the last time."""
        self.keep_running()
        return self._process.poll() is not None

    @property
    def code(self) -> int | None:
        """The exit code of the process, None while it runs."""
        return self._process.returncode

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _end(self) -> str:
        """Return how the process ended, for users."""
        code = self.code or 0
        number = -code if code < 0 else signal_of_code(code)
        if number is None:
            return f"exit code {code}, see {self._run.views_log}"
        return next((known.name for known in signal.Signals if known == number), f"signal {number}")

    def _start(self) -> subprocess.Popen[bytes]:
        log_fd = confined.open_file(self._run.views_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        # Until the process can answer them: an interrupted import would print a traceback.
        with os.fdopen(log_fd, "ab") as log, blocked((signal.SIGINT, signal.SIGTERM)):
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"},
                start_new_session=True,
            )
