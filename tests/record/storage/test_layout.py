"""Files of the record are replaced whole, also by several writers at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sweeper.record.storage.layout import write_atomically


def test_threads_that_write_the_same_file_do_not_take_each_other_s_away(tmp_path: Path) -> None:
    """As two drivers on a Ray cluster, each with a thread of its own that mirrors the same attempt."""
    path = tmp_path / "exit.json"

    def write(number: int) -> None:
        for _ in range(100):
            write_atomically(path, str(number).encode() * 1000, sync=False)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert len(set(path.read_text())) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["exit.json"]
