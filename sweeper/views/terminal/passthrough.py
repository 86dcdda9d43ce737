"""What `sweeper exec` shows: the command's own output as it comes, and in between what sweeper has to say of it."""

from __future__ import annotations

import os
from typing import BinaryIO, TextIO

from sweeper.record.storage.layout import AttemptDir
from sweeper.record.trial import Trial
from sweeper.results.snapshot import Show, SweepView
from sweeper.results.wording import decided, folded, plain
from sweeper.views.terminal.detached import is_behind

CHUNK = 65_536


class Passthrough(Show):
    """Hands on the output of a sweep's only trial; sweeper's own lines go to another stream, as those of `time` do.

    Args:
        output: gets the bytes of the trial's `output.log`, from the attempt after `seen` on.
        words: gets sweeper's lines.
        seen: the last attempt that had ended before; 0 for none.
    """

    def __init__(self, output: BinaryIO, words: TextIO, *, seen: int = 0) -> None:
        self._output = output
        self._words = words
        self._attempt = seen
        self._log: AttemptDir | None = None
        self._read = 0
        self._midline = False
        self._stopped = 0
        self._notes = 0
        self._messages = 0
        self._unmet: set[str] = set()

    def say(self, line: str) -> None:
        """Say one line."""
        self.write(plain(f"sweeper: {line}"))

    def write(self, text: str) -> None:
        """Write lines of sweeper's own."""
        self._words.write("\n" * self._midline + folded(text, self._words) + "\n")
        self._words.flush()
        self._midline = False

    def update(self, sweep: SweepView) -> None:
        """Hand on what is new; while it runs, only to who has taken what was before: it is on the disk."""
        if is_behind(self._output) and sweep.state in ("running", "stopping"):
            return
        for trial in sweep.trials:
            self._hand_on()
            if trial.control.attempt > self._attempt:
                self._begin(trial)
            self._tell(trial)
        for message in sweep.messages[self._messages :]:
            self.say(message)
        self._messages = len(sweep.messages)
        if sweep.state == "running":  # once it has ended, the receipt says what was missing
            for line in sweep.unmet:
                if line not in self._unmet:
                    self.say(line)
            self._unmet.update(sweep.unmet)

    def _begin(self, trial: Trial) -> None:
        """Another attempt: why the one before it ended, unless it is the first, and from where this one goes on."""
        before, self._attempt = self._attempt, trial.control.attempt
        self._log, self._read = trial.attempt, 0
        if before:
            ended, step = trial.exits.get(before), trial.progress.checkpoint
            how = (
                "was lost"
                if ended is None
                else "ended with " + (f"signal {ended.signal}" if ended.signal else f"exit code {ended.code}")
            )
            start = (
                "from the start, since there is no checkpoint"
                if step is None
                else f"from the checkpoint of step {step}"
            )
            self.say(f"attempt {before} {how}; attempt {self._attempt} goes on {start}")

    def _tell(self, trial: Trial) -> None:
        for note in trial.progress.notes[self._notes :]:
            self.say(note)
        self._notes = len(trial.progress.notes)
        stop = trial.control.stop
        if stop is not None and stop.decision is not None and self._stopped < trial.control.attempt:
            self._stopped = trial.control.attempt
            self.say(f"stopping it by {decided(stop.decision, 'the rule {}')}: {stop.decision.get('reason', '?')}")

    def _hand_on(self) -> None:
        """The bytes that the attempt wrote up to now; the end is fixed, or one that never pauses would hold us."""
        if self._log is None or not self._log.output.exists():
            return
        with self._log.output.open("rb") as log:
            end = os.fstat(log.fileno()).st_size
            log.seek(self._read)
            while chunk := log.read(min(CHUNK, end - self._read)):
                self._output.write(chunk)
                self._read += len(chunk)
                self._midline = not chunk.endswith(b"\n")
            self._output.flush()
