"""Several orchestrators want one run."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sweeper.errors import RunBusy
from sweeper.orchestrator.opening import reopen_run
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import acquire, is_held

AT_ONCE = 6


def test_of_many_processes_that_take_a_lease_at_once_one_gets_it(tmp_path: Path) -> None:
    start = threading.Barrier(AT_ONCE)

    def take(_: int) -> bool:
        start.wait()
        lease = acquire(tmp_path / "lease", holder="")  # a lock is of an open file, so threads are as good as processes
        start.wait()
        if lease is not None:
            lease.release()
        return lease is not None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        winners = [sum(pool.map(take, range(AT_ONCE))) for _ in range(20)]
    assert winners == [1] * 20


def test_asking_whether_a_lease_is_held_keeps_no_process_from_taking_it(tmp_path: Path) -> None:
    with (tmp_path / "lease").open("w") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)  # as `is_held` does, for a moment
        done = threading.Timer(0.01, lambda: fcntl.flock(asking, fcntl.LOCK_UN))
        done.start()
        lease = acquire(tmp_path / "lease", holder="")
        done.join()
    assert lease is not None
    assert is_held(tmp_path / "lease")
    lease.release()
    assert not is_held(tmp_path / "lease")


def test_the_second_process_names_the_first_even_where_an_earlier_name_is_written(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    gone = "pid 4194304 on elsewhere\n"  # above the greatest pid there is
    lease = acquire(run.lease, holder=gone)
    assert lease is not None
    name = f"pid {os.getpid()} on {socket.gethostname()}"
    late = threading.Timer(0.2, lambda: run.lease.write_text(name))
    late.start()
    with pytest.raises(RunBusy, match=f"is being run by {name}. Watch"):
        reopen_run(run)
    late.join()
    lease.release()
