"""The journal keeps every complete record, whatever is torn, and by whomever."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.decision import Decision
from sweeper.record.events import (
    Continued,
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Noted,
    Observation,
    Paused,
    Plan,
    Resumed,
    Started,
    StopRequested,
    Unpaused,
    Watching,
)
from sweeper.record.storage.codec import decode, decode_all, encode
from sweeper.record.storage.journal import JournalReader, JournalWriter, read_journal

numbers = st.floats(allow_nan=True, allow_infinity=True)
steps = st.integers(min_value=0, max_value=2**40)
texts = st.text(max_size=30)
decisions = st.builds(
    Decision,
    rule=texts,
    step=steps,
    reason=st.text(min_size=1),
    evidence=st.dictionaries(texts, texts, min_size=1, max_size=2),
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Started, time=numbers, pid=steps, host=texts),
    st.builds(Resumed, step=steps),
    st.builds(Plan, total_steps=steps, peak_lr=st.none() | numbers),
    st.builds(Metrics, step=steps, values=st.dictionaries(texts, numbers, max_size=3)),
    st.builds(Observation, step=steps, row=steps, reach=numbers, update_ratio=numbers, learning_rate=numbers),
    st.builds(Noted, text=texts),
    st.builds(Finished, outcome=st.sampled_from(["completed", "stopped", "failed"]), error=texts),
    st.builds(Launched, attempt=steps, slot=texts),
    st.builds(StopRequested, attempt=steps, cause=texts, decision=st.none() | decisions),
    st.builds(Exit, attempt=steps, code=st.none() | steps, signal=st.none(), cause=texts, peak_memory_mb=numbers),
)


WATCHING = Watching(
    layers=("a", "b"), tensors=("a.w", "b.w"), sizes=(4, 4), layer_of=(0, 1), statistics=("grad_norm",), every=10
)


def same(one: Event, other: Event) -> bool:
    """Equality under which NaN equals NaN, field by field."""
    return type(one) is type(other) and repr(one) == repr(other)


@given(events)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    line = encode(event)
    back = decode(line)
    assert line.count(b"\n") == 1
    assert back is not None
    assert same(back, event)


def test_nan_and_infinity_are_words_in_the_file() -> None:
    line = encode(Metrics(step=1, values={"a": math.nan, "b": -math.inf}))
    assert b'"a":"nan","b":"-inf"' in line


def test_an_event_of_a_newer_version_is_passed_over() -> None:
    assert decode(b'{"event":"Levitated","time":1.0}') is None


def test_a_key_of_a_newer_version_is_passed_over() -> None:
    assert decode(b'{"event":"Resumed","time":1.0,"step":3,"mood":"fine"}') == Resumed(time=1.0, step=3)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"7", b"null", b'{"event":"Resumed"}', b'{"event":"Resumed","step":"3"}', b'{"event":["a"]}',
     b'{"event":"Metrics","step":1,"values":{"a":[]}}', b'{"event":"Metrics","step":true,"values":{}}', b"\xff\xfe",
     b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_event_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any text: the reader only counts it
        decode(line)


@st.composite
def damaged_lines(draw: st.DrawFn) -> list[bytes]:
    """Lines of which some are the halves of one, joined to another, or of a version to come."""
    lines: list[bytes] = []
    for event in draw(st.lists(events | st.just(WATCHING), max_size=6)):
        line = encode(event)[:-1]
        cut = draw(st.integers(min_value=0, max_value=len(line)))
        harm = draw(st.sampled_from(["none", "none", "torn", "halves", "joined", "newer", "spaced"]))
        harmed = {
            "none": [line],
            "torn": [line[:cut]],
            "halves": [line[:cut], line[cut:]],
            "joined": [line + draw(st.sampled_from([b"", b",", b"],["])) + line],
            "newer": [b'{"event":"Levitated","heights":[[1],[2]]}'],
            "spaced": [line + b" \r"],
        }
        lines += [one for one in harmed[harm] if one]
    return lines


@given(damaged_lines())
def test_many_lines_are_read_as_each_of_them_alone(lines: list[bytes]) -> None:
    alone: list[Event | None] = []
    try:
        alone = [decode(line) for line in lines]
    except ValueError:
        with pytest.raises(ValueError, match="not an event"):
            decode_all(lines)
    else:
        assert repr(decode_all(lines)) == repr(alone)


WHOLE = encode(Resumed(step=3))[:-1]


@pytest.mark.parametrize(
    "lines",
    [
        [WHOLE, b'{"event":"Levitated","heights":[1', b"2]}", WHOLE],
        [WHOLE, b'{"event":"Levitated","heights":[[1', b"2]]}", WHOLE],
        [b'{"event":"', b'Levitated"}', WHOLE + b"],[" + WHOLE],
    ],
    ids=["array", "arrays", "string"],
)
def test_two_halves_are_not_read_as_one_event(lines: list[bytes]) -> None:
    with pytest.raises(ValueError, match="not an event"):
        decode_all(lines)


@given(st.lists(events, min_size=1, max_size=5), st.data())
def test_truncation_hides_no_complete_record_and_the_next_append_heals(
    written: list[Event], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        lines = [encode(event) for event in written]
        whole = b"".join(lines)
        cut = data.draw(st.integers(min_value=0, max_value=len(whole)))
        path.write_bytes(whole[:cut])
        # A record is complete once its last brace is there; the newline is only a courtesy to the next one.
        complete = sum(len(b"".join(lines[: i + 1])) - 1 <= cut for i in range(len(lines)))
        assert [repr(e) for e in read_journal(path)] == [repr(e) for e in written[:complete]]
        with JournalWriter(path) as journal:
            journal.append(Noted(text="after"))
        assert [repr(e) for e in read_journal(path)] == [repr(e) for e in [*written[:complete], Noted(text="after")]]


@given(st.lists(events, max_size=6), st.lists(st.integers(min_value=0, max_value=2000), max_size=8))
def test_reading_while_it_grows_gives_what_reading_at_the_end_gives(written: list[Event], cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        reader, seen = JournalReader(path), []
        whole = b"".join(encode(event) for event in written)
        position = 0
        for cut in [*sorted(cuts), len(whole)]:
            with path.open("ab") as file:
                file.write(whole[position:cut])
            position = max(position, min(cut, len(whole)))
            seen += reader.read()
        assert [repr(event) for event in seen] == [repr(event) for event in written]
        assert reader.damaged == 0


def test_a_line_that_is_no_event_is_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode(Noted(text="a")) + b"garbage\n\n" + encode(Noted(text="b")))
    reader = JournalReader(path)
    assert [event.text for event in reader.read() if isinstance(event, Noted)] == ["a", "b"]
    assert reader.damaged == 1


def test_a_full_disk_tears_one_line_and_the_next_append_heals_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    write = os.write
    with JournalWriter(path) as journal:
        journal.append(Noted(text="before"))

        def full(fd: int, data: bytes) -> int:
            write(fd, bytes(data)[:9])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            journal.append(Noted(text="torn"))
        monkeypatch.setattr(os, "write", write)
        journal.append(Noted(text="after"))
    assert [event.text for event in read_journal(path) if isinstance(event, Noted)] == ["before", "after"]


def test_a_record_that_lacks_only_its_newline_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode(Noted(text="a")).rstrip())
    reader = JournalReader(path)
    assert reader.read() == [Noted(text="a")]
    with JournalWriter(path) as journal:
        journal.append(Noted(text="b"))
    assert reader.read() == [Noted(text="b")]
    assert reader.damaged == 0


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert JournalReader(tmp_path / "none").read() == []


def test_watching_keeps_its_tuples() -> None:
    event = Watching(
        layers=("a",), tensors=("a.weight",), sizes=(4,), layer_of=(0,), statistics=("grad_mean",), every=10
    )
    assert decode(encode(event)) == event


def test_several_events_are_appended_as_one_by_one(tmp_path: Path) -> None:
    several: list[Event] = [Noted(text="a"), Noted(text="b")]
    (tmp_path / "torn").write_bytes(b'{"event":')
    with JournalWriter(tmp_path / "torn") as journal:
        journal.extend(several)
        journal.extend([])
        journal.append(Noted(text="c"))
    assert read_journal(tmp_path / "torn") == [*several, Noted(text="c")]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b'{"event":"Held","time":1.0,"attempt":2}', Paused(time=1.0, attempt=2)),
        (b'{"event":"Released","time":1.0,"attempt":2}', Unpaused(time=1.0, attempt=2)),
        (
            (
                b'{"event":"Condemned","time":1.0,"attempt":1,"spared":"audited","value":0.5,"decision":{"rule":"stalled",'
                b'"step":4,"reason":"because","evidence":{"reach":"nan"},"version":"v"}}'
            ),
            Continued(
                time=1.0,
                attempt=1,
                cause="audited",
                value=0.5,
                decision=Decision(rule="stalled", step=4, reason="because", evidence={"reach": "nan"}, version="v"),
            ),
        ),
    ],
)
def test_events_of_format_1_are_read_under_their_new_names(line: bytes, event: Event) -> None:
    assert decode(line) == event
    assert decode(encode(event)) == event
