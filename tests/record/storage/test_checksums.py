"""What was altered in a journal or a file is left out and named by its line, and nothing else is."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import RecordError
from sweeper.record.events import Event, Exit, Noted
from sweeper.record.storage.checksums import SIZE, Damage
from sweeper.record.storage.codec import decode_file, encode, encode_file
from sweeper.record.storage.journal import JournalReader, JournalWriter
from sweeper.record.storage.layout import read_json, write_json

TEXTS = ("a", "b", "c", "d", "e")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    with JournalWriter(path) as writer:
        for text in TEXTS:
            writer.append(Noted(text=text))
    return path


def texts_and_damage(path: Path, *, strict: bool = True) -> tuple[list[str], list[tuple[int, bool]]]:
    """Return the texts of the notes in a journal, and each damaged line with whether it is harmless."""
    reader = JournalReader(path, strict)
    texts = [event.text for event in reader.read() if isinstance(event, Noted)]
    return texts, [(one.line, one.torn) for one in (*reader.damage, *filter(None, [reader.incomplete]))]


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def without_sum(line: bytes) -> bytes:
    return line[: -SIZE - 1] + b"}\n"


CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str, list[tuple[int, bool]]]] = {
    "as written": (lambda lines: lines, "abcde", []),
    "a letter": (lambda lines: [*lines[:2], lines[2].replace(b'"c"', b'"x"'), *lines[3:]], "abde", [(3, False)]),
    "the last line": (lambda lines: [*lines[:4], lines[4].replace(b'"e"', b'"x"')], "abcd", [(5, False)]),
    "a checksum": (lambda lines: [*lines[:2], lines[2][:-4] + b'z"}\n', *lines[3:]], "abde", [(3, False)]),
    "another checksum": (
        lambda lines: [*lines[:2], lines[2][: -SIZE - 1] + lines[0][-SIZE - 1 :], *lines[3:]],
        "abde",
        [(3, False)],
    ),
    "no checksum": (lambda lines: [*lines[:2], without_sum(lines[2]), *lines[3:]], "abe", [(3, False), (4, False)]),
    "no checksum at all": (lambda lines: [*map(without_sum, lines)], "", [(n, False) for n in range(1, 6)]),
    "none in the first line": (lambda lines: [without_sum(lines[0]), *lines[1:]], "cde", [(1, False), (2, False)]),
    "none in the last line": (lambda lines: [*lines[:4], without_sum(lines[4])], "abcd", [(5, False)]),
    "two lines merged": (lambda lines: [*lines[:1], lines[1][:-1] + lines[2], *lines[3:]], "ade", [(2, False)]),
    "a line in two": (
        lambda lines: [lines[0], lines[1][:9] + b"\n" + lines[1][9:], *lines[2:]],
        "acde",
        [(2, False), (3, False)],
    ),
    "a line twice": (lambda lines: [*lines[:2], *lines[1:]], "abcde", [(3, False)]),
    "a line missing": (lambda lines: [*lines[:2], *lines[3:]], "abe", [(3, False)]),
    "two lines exchanged": (
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        "ae",
        [(2, False), (3, False), (4, False)],
    ),
    "the newline at the end": (lambda lines: [*lines[:4], lines[4][:-1]], "abcde", []),
    "another byte for the newline": (lambda lines: [*lines[:4], lines[4][:-1] + b"x"], "abcd", [(5, False)]),
    "the end": (lambda lines: [*lines[:4], lines[4][:20]], "abcd", [(5, True)]),
    "an empty line": (lambda lines: [*lines[:2], b"\n", *lines[2:]], "abcde", [(3, True)]),
    "garbage between lines": (lambda lines: [*lines[:2], b"\x00\xff\n", *lines[2:]], "abcde", [(3, True)]),
    "a line of another program": (
        lambda lines: [*lines[:2], encode(Noted(text="x")), *lines[2:]],
        "abcde",
        [(3, True)],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_costs_its_line_and_is_named(journal: Path, name: str) -> None:
    change, texts, damage = CHANGES[name]
    journal.write_bytes(b"".join(change(lines_of(journal))))
    assert texts_and_damage(journal) == (list(texts), damage)


@pytest.mark.parametrize("name", CHANGES)
def test_a_writer_continues_after_any_change(journal: Path, name: str) -> None:
    change, texts, _ = CHANGES[name]
    journal.write_bytes(b"".join(change(lines_of(journal))))
    for text in ("y", "z"):
        with JournalWriter(journal) as writer:
            writer.append(Noted(text=text))
    # A checksum in the last line that is lost, or that belongs to another line, costs at most the line after it.
    found, _ = texts_and_damage(journal)
    assert found[-1] == "z"
    assert found in ([*texts, "y", "z"], [*texts, "z"])


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6), st.integers(), st.data())
def test_every_change_of_one_byte_is_noticed_however_it_is_read(
    texts: list[str], seed: int, data: st.DataObject
) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        with JournalWriter(path) as writer:
            writer.extend([Noted(text=text) for text in texts])
        whole = path.read_bytes()
        place = chance.randrange(len(whole) - 1)
        changed = whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        reader, found = JournalReader(path, strict=True), list[Event]()
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            with path.open("ab" if start else "wb") as file:
                file.write(changed[start:end])
            found += reader.read()
        assert reader.damage
        assert all(event.text in texts for event in found if isinstance(event, Noted))


def test_a_torn_line_that_its_writer_left_is_harmless(journal: Path) -> None:
    with journal.open("ab") as file:
        file.write(b'{"event":"Noted","ti')
    for text in ("f", "g"):
        with JournalWriter(journal) as writer:
            writer.append(Noted(text=text))
    assert texts_and_damage(journal) == ([*TEXTS, "f", "g"], [(6, True)])


def test_an_older_journal_is_continued_with_checksums(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    path.write_bytes(b"".join(encode(Noted(text=text)) for text in "ab"))
    assert texts_and_damage(path, strict=False) == (["a", "b"], [])
    for text in "cd":
        with JournalWriter(path) as writer:
            writer.append(Noted(text=text))
    assert texts_and_damage(path, strict=False) == (list("abcd"), [])
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"c"', b'"x"'))
    assert texts_and_damage(path, strict=False) == (list("abd"), [(3, False)])
    reader = JournalReader(path)
    path.write_bytes(whole)
    assert (len(reader.read()), reader.unsummed, reader.lines) == (4, 2, 4)


def test_the_first_line_with_a_damaged_checksum_is_not_of_an_older_format(journal: Path) -> None:
    first, *others = lines_of(journal)
    for changed in (first[:-4] + b'z"}\n', first[:-5] + b'"}\n'):
        journal.write_bytes(b"".join([changed, *others]))
        assert texts_and_damage(journal, strict=False) == (list("bcde"), [(1, False)])


def test_a_line_longer_than_what_a_writer_reads_of_the_end(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    for text in ("x" * 20_000, "y"):
        with JournalWriter(path) as writer:
            writer.append(Noted(text=text))
    assert texts_and_damage(path) == (["x" * 20_000, "y"], [])


def test_a_file_that_was_altered_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    write_json(path, {"format": 3, "name": "s", "lr": 0.05})
    assert read_json(path) == {"format": 3, "name": "s", "lr": 0.05}
    whole = path.read_text()
    for changed in (whole.replace("0.05", "0.75"), whole.replace('"crc"', '"crd"'), whole.replace("3", "2", 1)):
        path.write_text(changed)
        with pytest.raises(RecordError, match="checksum"):
            read_json(path)
    body = json.loads(whole)
    del body["crc"]
    path.write_text(json.dumps(body))
    with pytest.raises(RecordError, match="its checksum is missing"):
        read_json(path)
    path.write_text(json.dumps({**body, "format": 2}))
    assert read_json(path)["lr"] == 0.05


def test_an_exit_that_was_altered_is_refused() -> None:
    exit_ = Exit(attempt=1, code=1, signal=None, cause="error", peak_memory_mb=1.0)
    whole = encode_file(exit_)
    assert decode_file(whole) == exit_
    assert decode_file(encode(exit_)) == exit_, "of an older version"
    for place in range(len(whole) - 1):
        for byte in (b"", bytes([whole[place] ^ 1])):
            with pytest.raises(ValueError, match="not an event as it was written"):
                decode_file(whole[:place] + byte + whole[place + 1 :])


def test_damage_names_its_place() -> None:
    assert str(Damage(file=Path("a/b.jsonl"), line=7, what="it was altered")) == "a/b.jsonl:7: it was altered"
    assert str(Damage(file=Path("a/b.json"), line=0, what="it was altered")) == "a/b.json: it was altered"
