"""The step after which all ranks stop."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.auto import stop
from sweeper.auto.stop import AHEAD, STOPPED, StopPoint, leave
from sweeper.record.storage import confined
from sweeper.record.storage.layout import AttemptDir, TrialDir


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    attempt = TrialDir(tmp_path).attempt(1)
    attempt.path.mkdir(parents=True)
    return attempt


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "several_ranks", lambda: True)


def test_one_process_stops_at_once(attempt: AttemptDir) -> None:
    assert StopPoint(attempt, is_first=True).reached(7)
    assert not attempt.stop_after.exists()


@pytest.mark.usefixtures("several")
def test_the_first_rank_chooses_a_step_that_no_rank_has_reached(attempt: AttemptDir) -> None:
    first = StopPoint(attempt, is_first=True)
    assert [first.reached(step) for step in (7, 8, 9)] == [False, False, True]
    assert attempt.stop_after.read_text() == f"{7 + AHEAD}\n"


@pytest.mark.usefixtures("several")
def test_another_rank_waits_until_the_first_has_chosen(attempt: AttemptDir) -> None:
    other = StopPoint(attempt, is_first=False)
    assert not other.reached(7)
    attempt.stop_after.write_text("")  # as if it were read while it is written
    assert not other.reached(8)
    attempt.stop_after.write_text("9\n")
    assert other.reached(9)


@given(
    order=st.lists(st.integers(0, 1), max_size=60),
    signalled=st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda at: abs(at[0] - at[1]) <= 1),
)
def test_two_ranks_that_are_at_most_one_step_apart_stop_after_the_same_step(
    order: list[int], signalled: tuple[int, int]
) -> None:
    """Each entry of `order` lets a rank end a step, unless the other is behind; `signalled` is when a rank is asked."""
    files: dict[str, str] = {}

    def read(_: object) -> bytes:
        if "step" not in files:
            raise FileNotFoundError
        return files["step"].encode()

    class Attempt:
        stop_after = None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stop, "several_ranks", lambda: True)
        patch.setattr(confined, "read_bytes", read)
        patch.setattr(stop, "write_atomically", lambda _, text: files.update(step=text.decode()))
        points = [StopPoint(Attempt(), is_first=rank == 0) for rank in (0, 1)]  # type: ignore[arg-type]  # the file of it
        at, ended = [0, 0], [False, False]
        for rank in [*order, *(0, 1) * 60]:
            if ended[rank] or at[rank] > at[1 - rank]:
                continue
            assert not ended[1 - rank] or at[rank] < at[1 - rank], "this rank would wait for the other for ever"
            at[rank] += 1
            ended[rank] = at[rank] >= signalled[rank] and points[rank].reached(at[rank])
        assert ended == [True, True]
        assert at[0] == at[1]


def test_a_stopped_script_leaves_through_its_finally_blocks() -> None:
    with pytest.raises(SystemExit) as left:
        leave()
    assert left.value.code == STOPPED != 0
