"""What a trial printed: the end of it, or what follows an offset."""

from __future__ import annotations

from sweeper.errors import RecordError, UsageError
from sweeper.record.reader import is_alive
from sweeper.record.storage.layout import AttemptDir, TrialDir
from sweeper.record.storage.output import pieces
from sweeper.results.wording import plain
from sweeper.service.answers.series import Output

BYTES, MOST = 16_384, 1 << 20
"""Bytes of the output by default, and at most."""


def output_of(trial: TrialDir, *, attempt: int | None, after: int | None, most: int) -> Output:
    """Return a part of the output of an attempt; see `OpenRun.output`."""
    if not 1 <= most <= MOST:
        raise UsageError(f"most: expected 1 to {MOST} bytes, got {most}")
    chosen = attempt_of(trial, attempt)
    if chosen is None:
        return Output(number=trial.number, attempt=0, begin=0, end=0, size=0, text="", running=False)
    running = is_alive(chosen)  # before the reading: then what is read is all
    try:
        size = chosen.output.lstat().st_size
    except OSError:
        size = 0
    begin = max(0, size - most) if after is None else min(max(0, after), size)
    text, end = _read(chosen, begin, min(size, begin + most))
    if after is None and begin > 0:  # the first line is torn
        text = text.partition("\n")[2] or text
    return Output(
        number=trial.number, attempt=chosen.number, begin=begin, end=end, size=size, text=text, running=running
    )


def attempt_of(trial: TrialDir, number: int | None) -> AttemptDir | None:
    """Return an attempt of a trial, by default the newest; None if the trial was never started.

    Raises:
        UsageError: the trial has no such attempt.
    """
    attempts = {attempt.number: attempt for attempt in trial.attempts()}
    if number is None:
        return attempts.get(max(attempts, default=0))
    if number not in attempts:
        known = f"one from 1 to {max(attempts)}" if attempts else "a trial that was started"
        raise UsageError(f"{trial.path}: expected {known}, got {number}")
    return attempts[number]


def _read(attempt: AttemptDir, begin: int, until: int) -> tuple[str, int]:
    """Return the output between two offsets, and where the next reading begins."""
    read, end = [], begin
    try:
        for piece, behind in pieces(attempt, begin, until):
            read.append(piece)
            end = behind
    except OSError as error:
        raise RecordError(f"{attempt.output}: expected the output of an attempt, got: {error.strerror}") from error
    text = b"".join(read).decode(errors="replace")
    return "\n".join(plain(_last_drawn(line)) for line in text.split("\n")), end


def _last_drawn(line: str) -> str:
    """Return what a terminal shows of a line that was drawn again and again, as progress bars are."""
    return line.rstrip("\r").rpartition("\r")[2]
