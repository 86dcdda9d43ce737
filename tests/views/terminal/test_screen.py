"""The keys of the live table, and that it is redrawn only if it changed."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.storage.inbox import Command, ForTrial, TrialCommand
from sweeper.results.snapshot import SweepView
from sweeper.views.terminal.keyboard import _keys
from sweeper.views.terminal.live import BEGIN, END, LiveTable, show
from sweeper.views.terminal.screen import Screen
from tests.views.terminal.test_live import Terminal, sweep_of


def after(screen: Screen, sweep: SweepView, *keys: str) -> tuple[Screen, list[Command]]:
    commands = []
    for key in keys:
        screen, command = screen.pressed(key, sweep, 10)
        commands += [command] if command else []
    return screen, commands


def test_the_first_move_selects_a_running_trial_and_the_next_ones_go_through_all(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    assert after(Screen(), sweep, "down")[0].chosen == 2
    assert after(Screen(), sweep, "down", "down", "up", "up")[0].chosen == 1
    assert after(Screen(), sweep, "up", *["down"] * 9)[0].chosen == 4
    assert after(Screen(chosen=3), sweep, "page up")[0].chosen == 0
    assert after(Screen(chosen=3), sweep, "escape")[0].chosen is None
    assert after(Screen(), SweepView(**{**_fields(sweep), "trials": []}), "down", "x", "y") == (Screen(), [])


def _fields(sweep: SweepView) -> dict[str, Any]:
    return {name: getattr(sweep, name) for name in sweep.__dataclass_fields__}


def test_keys_without_a_selected_trial_do_nothing(tmp_path: Path) -> None:
    assert after(Screen(), sweep_of(tmp_path), *"xypswo", "enter", "escape") == (Screen(), [])


def test_a_trial_is_stopped_only_after_confirmation(tmp_path: Path) -> None:
    sweep, running = sweep_of(tmp_path), Screen(chosen=2)
    assert after(running, sweep, "x", "n") == (running, [])
    assert after(running, sweep, "x", "escape") == (running, [])
    assert after(running, sweep, "x", "y") == (running, [ForTrial(do=TrialCommand.STOP, number=2)])
    assert after(Screen(chosen=0), sweep, "x", "y", "p", "s") == (Screen(chosen=0), [])  # it is complete


def test_p_resumes_a_paused_trial_and_s_revives_a_pruned_one(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    assert after(Screen(chosen=2), sweep, "p", "s")[1] == [
        ForTrial(do=TrialCommand.PAUSE, number=2),
        ForTrial(do=TrialCommand.REVIVE, number=2),
    ]
    assert after(Screen(chosen=1), sweep, "s")[1] == [ForTrial(do=TrialCommand.REVIVE, number=1)]


def test_the_details_scroll_and_close(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    screen, _ = after(Screen(chosen=1), sweep, "enter", "down", "page down", "up")
    assert (screen.detail, screen.top, screen.chosen) == ("why", 9, 1)
    screen, _ = after(screen, sweep, "o", "down")
    assert (screen.detail, screen.chosen) == ("output", 2)
    assert after(screen, sweep, "escape")[0] == Screen(chosen=2)


@pytest.mark.parametrize(
    "screen", [Screen(), Screen(chosen=1), Screen(chosen=1, detail="why"), Screen(ending=True, chosen=1)]
)
def test_the_help_fits_80_columns(screen: Screen) -> None:
    assert len(screen.help) <= 80


def test_what_keys_send() -> None:
    assert _keys("\x1b[A\x1bOBx\x1b[6~\r") == ["up", "down", "x", "page down", "enter"]
    assert _keys("\x1b") == ["escape"]
    assert _keys("\x1b[1;5Cx") == []  # not known here: a key, but none of ours


def test_a_frame_is_written_at_once_and_only_if_it_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream, sweep = Terminal(), sweep_of(tmp_path)
    with show(stream) as table:
        table.update(sweep)
        first = stream.getvalue()
        table.update(sweep)
        assert stream.getvalue() == first
        table.update(replace(sweep, now=sweep.now + 1))
        second = stream.getvalue().removeprefix(first)
        assert second.startswith(BEGIN)
        assert second.endswith(END)
        assert "COMPLETE" in second
        assert second.count(BEGIN) == second.count(END) == 1


@pytest.fixture
def keyboard() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_keys_are_read_only_from_a_terminal_and_only_in_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyboard: tuple[int, int]
) -> None:
    """The terminal here is not that of this process, so it is not in front on it."""
    monkeypatch.setenv("TERM", "xterm-256color")
    sent: list[object] = []
    with open(keyboard[1], closefd=False) as keys, show(Terminal(), keys=keys, send=sent.append) as table:
        assert isinstance(table, LiveTable)
        table.update(sweep_of(tmp_path))
        os.write(keyboard[0], b"\x1b[Bp\n")
        assert not table.pressed()
        assert table.filenos() == ()
    assert not sent
