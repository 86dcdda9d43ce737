"""The display of `sweeper exec`: the command's own output as it is written, and sweeper's messages between it."""

from __future__ import annotations

from typing import BinaryIO, TextIO

from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.output import pieces
from sweeper.record.trial import TrialRecord
from sweeper.results.restart import has_begun
from sweeper.results.snapshot import Display, SweepView
from sweeper.results.wording import decided_by, folded, plain
from sweeper.views.terminal.detached import is_behind


class Passthrough(Display):
    """Passes on the output of a sweep's only trial; sweeper's own lines go to another stream, like those of `time`.

    Args:
        output: receives the bytes of the trial's `output.log`, from the attempt after `seen` on.
        messages: receives sweeper's lines.
        seen: the last attempt that had ended before; 0 for none.
    """

    def __init__(self, output: BinaryIO, messages: TextIO, *, seen: int = 0) -> None:
        self._output = output
        self._stream = messages
        self._attempt = seen
        self._log: AttemptDir | None = None
        self._read = 0
        self._midline = False
        self._stopped = 0
        self._notes = 0
        self._messages = 0
        self._unmet: set[str] = set()

    def say(self, line: str) -> None:
        """Print one line of sweeper's own."""
        self.write(plain(f"sweeper: {line}"))

    def write(self, text: str) -> None:
        """Print lines of sweeper's own, after a line break if the command's output stopped within a line."""
        self._stream.write("\n" * self._midline + folded(text, self._stream) + "\n")
        self._stream.flush()
        self._midline = False

    def update(self, sweep: SweepView) -> None:
        """Write what is new. While the trial runs, wait for the reader to accept earlier output; the log has it."""
        if is_behind(self._output) and sweep.state in ("running", "stopping"):
            return
        for trial in sweep.trials:
            self._hand_on()
            if trial.newest.number > self._attempt:
                self._begin(trial)
            self._write_notes(trial)
        for message in sweep.messages[self._messages :]:
            self.say(message)
        self._messages = len(sweep.messages)
        if sweep.state == "running":  # after the end, the receipt says what was missing
            for line in sweep.unmet:
                if line not in self._unmet:
                    self.say(line)
            self._unmet.update(sweep.unmet)

    def _begin(self, trial: TrialRecord) -> None:
        """Begin another attempt: print why the previous one ended, if any, and from where this one resumes."""
        before, self._attempt = self._attempt, trial.newest.number
        self._log, self._read = trial.attempt_dir, 0
        if before:
            earlier, step = trial.attempt(before), trial.progress.checkpoint
            ended = earlier.exit if earlier else None
            how = (
                "was lost"
                if ended is None
                else "ended with " + (f"signal {ended.signal}" if ended.signal else f"exit code {ended.code}")
            )
            unless = ", unless its script finds a checkpoint of its own" if has_begun(trial) else ""
            anew = f"starts from the beginning{unless}"
            start = anew if step is None else f"resumes from the checkpoint of step {step}"
            self.say(f"attempt {before} {how}; attempt {self._attempt} {start}")

    def _write_notes(self, trial: TrialRecord) -> None:
        """Print the script's new notes, and the decision that stops the trial."""
        for note in trial.progress.notes[self._notes :]:
            self.say(note)
        self._notes = len(trial.progress.notes)
        stop = trial.newest.stop
        if stop is not None and stop.decision is not None and self._stopped < trial.newest.number:
            self._stopped = trial.newest.number
            self.say(f"stopped by {decided_by(stop.decision, 'the rule {}')}: {stop.decision.reason}")

    def _hand_on(self) -> None:
        """Copy the bytes that the attempt has written so far; bytes written during the copy are left for the next."""
        if self._log is None or not self._log.output.exists():
            return
        for piece, end in pieces(self._log, self._read, self._log.output.stat().st_size):
            self._output.write(piece)
            self._read = end
            self._midline = not piece.endswith(b"\n")
        self._output.flush()
