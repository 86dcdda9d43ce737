"""The output that `sweeper exec` passes on between a command and a terminal."""

from __future__ import annotations

import io
import os
import termios
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.record.events import Exit, Launched, Metrics, Started, StopRequested
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.results.wording import folded
from sweeper.views.terminal.passthrough import Passthrough
from tests.record.trials import trial_of
from tests.views.synthetic import DECISION, Script, make_trial, play
from tests.views.terminal.test_live import view


def test_sweepers_messages_are_on_their_own_lines_and_printed_once(tmp_path: Path) -> None:
    trial = make_trial(SweepDir(tmp_path), 0)
    play(trial, Script(stalled=True, until=131, outcome="stopped", decision=DECISION))
    log = trial.attempt(1).output
    log.write_bytes(b"10%\r20%")
    output, words = io.BytesIO(), io.StringIO()
    shown = Passthrough(output, words)
    sweep = view([read_trial(trial)], messages=("hostile \x1b[31m",))
    for more in (b"", b"\xff\x1b[0m no end", b""):
        with log.open("ab") as file:
            file.write(more)
        shown.update(sweep)
    shown.say("the end")
    assert output.getvalue() == b"10%\r20%\xff\x1b[0m no end"  # the command's bytes are its own affair
    first, second, before_the_end, end = words.getvalue().splitlines()
    assert first.startswith("sweeper: stopped by the rule stalled at step ")
    assert (second, before_the_end, end) == ("sweeper: hostile ?[31m", "", "sweeper: the end")


def test_output_shown_by_an_earlier_call_is_not_shown_again(tmp_path: Path) -> None:
    trial = make_trial(SweepDir(tmp_path), 0)
    play(trial, Script())
    trial.attempt(1).output.write_bytes(b"old")
    output, words = io.BytesIO(), io.StringIO()
    Passthrough(output, words, seen=1).update(view([read_trial(trial)]))
    assert (output.getvalue(), words.getvalue()) == (b"", "")


def test_lines_are_folded_between_words_at_the_width_of_a_terminal() -> None:
    text = "short\n  a line that is longer than the window\nx" + "y" * 30
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 20))
    with os.fdopen(master, "rb"), os.fdopen(slave, "w") as terminal:
        assert folded(text, terminal) == (
            "short\n  a line that is\n    longer than the\n    window\nx" + "y" * 19 + "\n  " + "y" * 11
        )
    assert folded(text, io.StringIO()) == text


@pytest.mark.parametrize("steps", [0, 1])
def test_an_attempt_after_one_without_a_step_looks_for_no_checkpoint(tmp_path: Path, steps: int) -> None:
    control = [Launched(attempt=1, slot="a"), StopRequested(attempt=1, cause="interrupted")]
    exits = [Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1)]
    history = [Started(pid=1, host="h"), *[Metrics(step=step, values={"loss": 1.0}) for step in range(steps)]]
    first = trial_of(control, history, exits)
    second = replace(first.after([Launched(attempt=2, slot="a")]), directory=TrialDir(tmp_path))
    words = io.StringIO()
    Passthrough(io.BytesIO(), words, seen=1).update(view([second]))
    unless = ", unless its script finds a checkpoint of its own" if steps else ""
    assert (
        words.getvalue() == f"sweeper: attempt 1 ended with exit code 0; attempt 2 starts from the beginning{unless}\n"
    )
