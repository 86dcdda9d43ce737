"""The live table, the lines, the ranking and the receipt, at several widths and with hostile text."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from sweeper.orchestrator.io.wakeup import Wakeup
from sweeper.record.events import Launched
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord
from sweeper.results.ranking import ranked, ranking_text
from sweeper.results.receipt import receipt
from sweeper.results.snapshot import SweepView, savings_of, seconds_left, steps_per_second
from sweeper.views.terminal.live import LiveTable, PlainLines, show
from sweeper.views.terminal.rich_tables import ranking_table
from sweeper.views.terminal.table import status_table, visible
from tests.views.synthetic import DECISION, START, Script, make_trial, play

HOSTILE = "[red]x[/red]\x1b[31m\x07\nnext\u202e"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def sweep_of(tmp_path: Path, **changes: Any) -> SweepView:
    """One of each state: complete, pruned, running, failed, waiting."""
    run = SweepDir(tmp_path)
    play(make_trial(run, 0), Script())
    play(make_trial(run, 1), Script(stalled=True, until=131, outcome="stopped", decision=DECISION))
    play(make_trial(run, 2), Script(until=320, outcome="", exit_code=None))
    failed = make_trial(run, 3)
    play(failed, Script(until=20, outcome="failed", exit_code=1))
    failed.attempt(1).output.write_text("a bar 10%\ra bar 99%\n\x1b[31mRuntimeError\x1b[0m [bold]\n")
    make_trial(run, 4)
    return view([read_trial(trial) for trial in run.trials()], **changes)


def view(trials: list[TrialRecord], **changes: Any) -> SweepView:
    given: dict[str, Any] = {
        "name": "warmup",
        "state": "RUNNING",
        "trials": trials,
        "total": 6,
        "slots": ("cpu:0", "cpu:1"),
        "now": START + 60,
        "started": START - 5,
    }
    return SweepView(**{**given, **changes})


def rendered(renderable: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True, force_terminal=True, legacy_windows=False)
    console.print(renderable)
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_table_never_wraps_and_keeps_the_important_columns(tmp_path: Path, width: int) -> None:
    sweep = sweep_of(tmp_path, messages=["a message that is much longer than a terminal is wide " * 4])
    lines = rendered(status_table(sweep, width=width), width)
    assert len(lines) == 1 + 1 + 5 + 1 + 1
    assert max(len(line) for line in lines) <= width
    assert lines[2].split()[:5] == ["0000", "COMPLETE", "6e-4", "0.1", "640/640"]
    assert "0.291" in lines[3]
    assert lines[4].split()[1] == "RUNNING"


def test_no_width_is_too_small(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    for width in range(20, 60):
        assert len(rendered(status_table(sweep, width=width), width)) == 8


def test_wide_table_has_every_column(tmp_path: Path) -> None:
    lines = rendered(status_table(sweep_of(tmp_path), width=160), 160)
    heads = ["trial", "state", "lr", "warmup_fraction", "step", "loss", "accuracy/test", "reach", "step/s", "left"]
    assert lines[1].split() == [*heads, "health"]
    assert lines[4].split()[-3:] == ["10", "32s", "ok"]
    assert lines[6].split()[-1] == "-"


def test_narrow_table_drops_speed_first(tmp_path: Path) -> None:
    heads = rendered(status_table(sweep_of(tmp_path), width=80), 80)[1].split()
    assert heads == ["trial", "state", "lr", "warmup_fr…", "step", "loss", "accuracy/…", "reach", "health"]


def test_the_summary_has_progress_slots_and_time(tmp_path: Path) -> None:
    first = rendered(status_table(sweep_of(tmp_path), width=120), 120)[0]
    assert first.startswith("warmup  running: 3 of 6 ended, 1 running, 1/2 slots, 65s, ~")


def test_many_parameters_share_a_column(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    shown = {f"parameter_{i}": 10.0**-i for i in range(8)}
    play(make_trial(run, shown=shown, params=shown), Script(until=20))
    lines = rendered(status_table(view([read_trial(run.trial(0))]), width=80), 80)
    assert len(lines) == 4
    assert "parameter_0=1, para" in lines[2]


def test_several_seeds_have_a_column(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    for seed in (0, 1):
        play(make_trial(run, seed, seed=seed, seeds=2), Script(until=20, outcome="", exit_code=None))
    sweep = view([read_trial(trial) for trial in run.trials()])
    assert [line.split()[4] for line in rendered(status_table(sweep, width=80), 80)[1:4]] == ["seed", "0", "1"]
    stream = io.StringIO()
    PlainLines(stream).update(sweep)
    assert stream.getvalue().splitlines()[1] == "0001 running on cpu:1: lr=6e-4, warmup_fraction=0.1, seed 1"


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    shown = {HOSTILE: HOSTILE}
    decision = {"rule": HOSTILE, "step": 3, "reason": HOSTILE, "evidence": {HOSTILE: [[1, HOSTILE]]}}
    trial = make_trial(run, shown=shown, params=shown, metric=HOSTILE)
    play(trial, Script(until=20, outcome="stopped", decision=decision))
    sweep = view([read_trial(trial)], name=HOSTILE, messages=[HOSTILE])
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(status_table(sweep, width=160), ranking_table(sweep, width=160))
    plain = io.StringIO()
    PlainLines(plain).update(sweep)
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), plain.getvalue(), receipt(sweep.trials[0]), ranking_text(sweep)):
        assert "[red]x[/red]?[31m? next?" in text
        assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_low_terminal_shows_running_and_latest_and_counts_the_rest(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    for number in range(12):
        script = Script(until=20, outcome="", exit_code=None) if number in (3, 7) else Script(until=20)
        play(make_trial(run, number), script)
    make_trial(run, 12)
    trials = [read_trial(trial) for trial in run.trials()]
    ended_last = replace(trials[5], progress=replace(trials[5].progress, latest=START + 1000))
    trials[5] = ended_last
    assert [trial.facts.number for trial in visible(trials, 3)] == [3, 5, 7]
    lines = rendered(status_table(view(trials), width=80, height=8), 80)
    assert len(lines) == 8
    assert lines[-2] == "… 9 more trials not shown: 1 WAITING, 8 COMPLETE"
    assert lines[-1] == "  loss: loss/train; score: accuracy/test (not logged yet)"


def test_the_display_is_chosen_by_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(show(Terminal()), LiveTable)
    assert isinstance(show(io.StringIO()), PlainLines)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI does
    assert isinstance(show(io.StringIO()), PlainLines)
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(show(Terminal()), PlainLines)


def test_no_color_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with show(stream) as display:
        display.update(sweep_of(tmp_path))
    assert "RUNNING" in stream.getvalue()
    assert "\x1b[36m" not in stream.getvalue()


def test_live_table_leaves_the_last_state_and_the_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    with show(stream) as display:
        display.update(sweep_of(tmp_path))
    assert stream.getvalue().endswith("\x1b[?25h")


def test_plain_lines_print_changes_once_and_progress_at_most_every_half_minute(tmp_path: Path) -> None:
    stream, sweep = io.StringIO(), sweep_of(tmp_path, messages=("resumed",))
    display = PlainLines(stream)
    for seconds in (0, 1, 29):
        display.update(replace(sweep, now=START + 60 + seconds))
    lines = stream.getvalue().splitlines()
    assert lines == [
        "0000 complete after 640 steps: best accuracy/test 0.7992 at step 639, last 0.7992",
        f"0001 pruned by stalled at step 130: {DECISION['reason']}",
        "0002 running on cpu:0: lr=6e-4, warmup_fraction=0.1",
        "0003 failed after 20 steps: boom (exit code 1)",
        "resumed",
        "warmup: 3 of 6 ended; running 0002 320/640; best accuracy/test 0.7992; 65s elapsed",
    ]
    display.update(replace(sweep, now=START + 91, messages=("resumed", "slot lost")))
    assert stream.getvalue().splitlines()[6:] == ["slot lost", lines[5].replace("65s", "96s")]


def test_plain_lines_count_the_trials_that_ended_in_earlier_calls(tmp_path: Path) -> None:
    stream, sweep = io.StringIO(), sweep_of(tmp_path, ended_earlier={0, 3})
    display = PlainLines(stream)
    display.update(sweep)
    display.update(sweep)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "resuming warmup: 2 of 6 trials ended before"
    assert [line.split()[0] for line in lines[1:]] == ["0001", "0002", "warmup:"]
    endless = io.StringIO()
    PlainLines(endless).update(replace(sweep, total=None, ended_earlier={0}))
    assert endless.getvalue().startswith("resuming warmup: 1 trial ended before\n")


def test_plain_lines_print_what_becomes_of_a_revived_trial(tmp_path: Path) -> None:
    """It ended in an earlier call and ends again in this one."""
    stream, sweep = io.StringIO(), sweep_of(tmp_path, ended_earlier={0})
    display, (first, *others) = PlainLines(stream), sweep.trials
    display.update(sweep)
    revived = replace(first)
    object.__setattr__(revived, "state", State.RUNNING)
    display.update(replace(sweep, trials=[revived, *others]))
    display.update(sweep)
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("0000")]
    assert [line.split()[1] for line in lines] == ["running", "complete"]


def test_a_progress_line_says_what_a_sweep_does_after_its_trials(tmp_path: Path) -> None:
    stream = io.StringIO()
    PlainLines(stream).update(view([], state="drawing the last figures"))
    assert stream.getvalue() == "warmup: 0 of 6 ended; none running; drawing the last figures; 65s elapsed\n"


def test_a_metric_named_loss_is_told_from_the_training_loss(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    trial = make_trial(run, 0)
    play(trial, Script())
    record = read_trial(trial)
    record = replace(record, facts=replace(record.facts, metric="loss", at="best"))
    head = rendered(status_table(view([record]), width=120), 120)[1].split()
    assert head[head.index("loss") :][:3] == ["loss", "best", "loss"]
    last_lines = rendered(status_table(view([record]), width=120), 120)
    assert max(map(len, last_lines)) <= 120


def test_what_an_interrupt_does_fits_a_terminal_of_80_columns(tmp_path: Path) -> None:
    said: list[str] = []
    Wakeup(said.append).interrupt()
    lines = rendered(status_table(view([], messages=said), width=80), 80)
    assert any(line.rstrip().endswith("Interrupt once more to kill them") for line in lines)


def test_plain_lines_do_not_repeat_a_decision(tmp_path: Path) -> None:
    stream = io.StringIO()
    PlainLines(stream).update(
        sweep_of(tmp_path, messages=("0001 pruned at step 130: no gradient", "0003 failed: boom"))
    )
    assert stream.getvalue().count("0001 pruned") == 1
    assert stream.getvalue().count("0003 failed") == 1


def test_plain_lines_survive_an_ascii_stream(tmp_path: Path) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    PlainLines(stream).update(sweep_of(tmp_path, name="größe"))


def test_ranking_is_best_first_and_accounts_for_pruning(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    assert [trial.facts.number for trial in ranked(sweep.trials)] == [0, 2, 1, 3, 4]
    text = ranking_text(sweep)
    assert text.splitlines()[1].split()[:4] == ["0.7992", "639", "0.7992", "0000"]
    assert f"0001 pruned by stalled at step 130: {DECISION['reason']}" in text
    assert "Stopping 1 of 5 trials early saved 509 steps, about 51s of one slot." in text
    assert savings_of(sweep).seconds == pytest.approx(509 / steps_per_second(sweep.trials[1]))
    for width in (80, 160):
        assert max(len(line) for line in rendered(ranking_table(sweep, width=width), width)) <= width


def test_the_ranking_is_ascending_for_a_minimized_metric(tmp_path: Path) -> None:
    trials = [replace(t, facts=replace(t.facts, maximize=False)) for t in sweep_of(tmp_path).trials]
    assert [trial.facts.number for trial in ranked(trials)] == [1, 0, 2, 3, 4]


def test_receipt_of_a_pruned_trial_has_the_evidence(tmp_path: Path) -> None:
    text = receipt(sweep_of(tmp_path).trials[1])
    assert text.startswith("trial 0001: PRUNED\n")
    assert (
        "attempt 1 on cpu:1: completed after 19s, asked to stop by the rule stalled at step 130, peak memory 500 MiB"
        not in text
    )
    assert "attempt 1 on cpu:1: stopped (by the rule stalled at step 130) after 19s, peak memory 500 MiB" in text
    assert "pruned by the rule stalled at step 130" in text
    assert "  threshold   0.03" in text
    assert "          110    nan" in text


def test_receipt_of_a_failed_trial_has_the_end_of_its_output(tmp_path: Path) -> None:
    text = receipt(sweep_of(tmp_path).trials[3])
    assert "failed: boom (exit code 1)" in text
    assert "  a bar 99%\n  ?[31mRuntimeError?[0m [bold]\n\nhealth: ok\n\nconstant parameters:\n" in text


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (0, "complete: best accuracy/test 0.7992 at step 639, last 0.7992, after 640 steps"),
        (2, "running: 320 of 640 steps done, best accuracy/test 0.4992 at step 255, last 0.4992"),
        (4, "waiting: 0 steps done, accuracy/test was not logged"),
    ],
)
def test_the_receipt_has_the_progress_before_the_constant_parameters(tmp_path: Path, number: int, end: str) -> None:
    beginning, _, rest = receipt(sweep_of(tmp_path).trials[number]).partition("\n\nconstant parameters:\n")
    assert end in beginning.splitlines()
    assert rest


def test_speed_and_time_left_come_from_the_newest_attempt(tmp_path: Path) -> None:
    trial = sweep_of(tmp_path).trials[2]
    assert steps_per_second(trial) == pytest.approx(10, rel=0.01)
    assert seconds_left(trial) == pytest.approx(32, rel=0.01)


def test_sweep_without_trials_is_shown(tmp_path: Path) -> None:
    sweep = view([], total=None, slots=())
    assert rendered(status_table(sweep, width=80), 80)[0] == "warmup  running: 0 ended, 0 running, 65s"
    assert ranking_text(sweep)
    assert rendered(ranking_table(sweep), 80)


def test_launched_trial_without_a_step_has_no_speed(tmp_path: Path) -> None:
    trial = make_trial(SweepDir(tmp_path))
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=START, attempt=1, slot="cpu:0"))
    sweep = view([read_trial(trial)])
    assert sweep.trials[0].state is State.RUNNING
    assert rendered(status_table(sweep, width=120), 120)[2].split() == ["0000", "RUNNING", "6e-4", "0.1", *"-------"]


def test_the_receipt_has_each_note_of_the_script_once(tmp_path: Path) -> None:
    trial = sweep_of(tmp_path).trials[0]
    noted = replace(trial, progress=replace(trial.progress, notes=("not watched: frozen: a", "not watched: frozen: a")))
    assert receipt(noted).count("note: not watched: frozen: a\n") == 1
