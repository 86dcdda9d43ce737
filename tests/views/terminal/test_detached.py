"""The reader of the output may stop or disappear; no process waits for it."""

from __future__ import annotations

import itertools
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sweeper.results.snapshot import SweepView
from sweeper.views.terminal.detached import NonBlockingOutput, is_behind, survive_disconnect
from sweeper.views.terminal.live import LiveTable, show
from tests.views.synthetic import START
from tests.views.terminal.test_live import view

MANY = b"x" * 1_000_000
"""More than a pipe holds."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def _raw(stream: Any) -> NonBlockingOutput:
    raw = stream.buffer.raw
    assert isinstance(raw, NonBlockingOutput)
    return raw


def read_all(fd: int, into: list[bytes]) -> threading.Thread:
    def read() -> None:
        while data := os.read(fd, 65_536):
            into.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    return reader


def test_a_full_pipe_blocks_nothing_and_loses_nothing(pipe: tuple[int, int]) -> None:
    out = NonBlockingOutput.over(pipe[1])
    assert out.write(MANY) == len(MANY)
    assert out.write(b"the end") == 7
    assert not out.flush_pending()
    assert os.get_blocking(pipe[1])  # the description that others have is left as it was
    got: list[bytes] = []
    reader = read_all(pipe[0], got)
    while not out.flush_pending():
        select.select([], [out], [])
    out.close()
    os.close(pipe[1])
    reader.join()
    assert b"".join(got) == MANY + b"the end"


def test_output_without_a_reader_counts_as_written(pipe: tuple[int, int]) -> None:
    out = NonBlockingOutput.over(pipe[1])
    out.write(MANY)
    os.close(pipe[0])
    assert out.flush_pending()
    assert out.write(b"more") == 4
    assert out.flush_pending()
    out.close()


def test_a_file_is_written_at_its_position(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("out") / "log"
    with path.open("wb", buffering=0) as file:
        file.write(b"before ")
        with NonBlockingOutput.over(file.fileno()) as out:
            out.write(b"and after")
    assert path.read_bytes() == b"before and after"


def test_the_table_is_drawn_only_while_the_terminal_accepts_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keyboard, terminal = os.openpty()
    os.set_blocking(keyboard, False)
    seconds = itertools.count()

    def another() -> SweepView:
        """Return a sweep that looks different from the last one, because an equal frame is not drawn again."""
        return view([], now=START + next(seconds))

    monkeypatch.setenv("TERM", "xterm")
    with open(terminal, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", None)
        with survive_disconnect(), show() as table:
            assert isinstance(table, LiveTable)
            os.write(keyboard, b"\x13")  # Ctrl-S
            while not is_behind(sys.stdout):  # the kernel takes it in by and by
                table.update(another())
            waiting = len(_raw(sys.stdout)._waiting)
            for _ in range(10):
                table.update(another())
            assert len(_raw(sys.stdout)._waiting) == waiting
            os.write(keyboard, b"\x11")  # Ctrl-Q
            while is_behind(sys.stdout):
                time.sleep(0.01)
            table.update(view([], messages=("it goes on",)))
    shown = b""
    while b"it goes on" not in shown:
        select.select([keyboard], [], [])
        shown += os.read(keyboard, 65_536)
    os.close(terminal)
    os.close(keyboard)
