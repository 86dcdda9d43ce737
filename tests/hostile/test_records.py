"""A record edited by hand is read as far as it goes, or refused in words: by every reader there is."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from sweeper.backtest import arms, backtest, read_recording
from sweeper.backtest.report import to_json as report_to_json
from sweeper.backtest.table import report_table
from sweeper.errors import RecordError, SweeperError
from sweeper.preflight.summary import recorded
from sweeper.record.events import Checkpointed, SweepEnded, SweepStarted
from sweeper.record.reader import read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, read_json, write_json
from sweeper.results.ranking import ranking_text
from sweeper.results.receipt import receipt
from sweeper.results.status import read_sweep, to_json
from sweeper.views.figures.trial_figures import TrialFigures
from sweeper.views.tensorboard.trial_run import SweepTexts, TrialRun
from sweeper.views.terminal.table import status_table
from sweeper.worker import checkpoint
from tests.hostile.fuzz import assert_plain, within
from tests.views.synthetic import DECISION, START, Script, make_trial, play

HUGE = 10**400
PATIENCE_S = 60
SCALARS = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**63), 10**30, HUGE, 0.5, -0.0, 1e308, -1e308),
        *(
            "",
            "nan",
            "inf",
            "-inf",
            "1",
            "x",
            "../../etc/passwd",
            "/etc/passwd",
            "\0",
            "\x1b[31m",
            "\ud800",
            "x" * 10_000,
        ),
    ]
)
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(
        st.sampled_from(["loss", "accuracy/test", "", "\x1b[31m", "evidence", "rule"]), SCALARS, max_size=3
    )
    | st.builds(lambda n: json.loads("[" * n + "]" * n), st.sampled_from([3, 900]))
    | st.just([["a", "b"], ["c"]])
)
GARBAGE = [
    *(b"\xff\xfe\x00", b"{", b"}", b"null", b"[]", b"3", b'"x"', b'{"event": "Nonsense", "time": 1}', b'{"event": 3}'),
    *(b'{"event": "Metrics"}', b'{"event": "Launched", "attempt": 1}', b"[" * 100_000, b'{"a":' * 5_000, b"\x1b[31m\n"),
    *(
        b'{"event": ["Metrics"], "step": 1}',
        b'{"event": {}}',
        b"9" * 5_000,
        b'{"event": "Started", "pid": 1, "host": "h"}',
    ),
]
FILES = [
    "trials/0000/attempts/1/events.jsonl",
    "trials/0001/attempts/1/events.jsonl",
    "trials/0000/control.jsonl",
    "trials/0001/control.jsonl",
    "trials/0000/trial.json",
    "trials/0001/trial.json",
    "trials/0001/attempts/1/exit.json",
    "trials/0001/attempts/1/layers.f32",
    "spec.json",
    "log.jsonl",
]
_CHECKSUM = re.compile(rb',\s*"crc":\s*"[0-9a-f]{8}"\s*}')
FEW = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small record of a trial that learned and one that was pruned, as the record's own writers leave it."""
    run = SweepDir(tmp_path_factory.mktemp("record") / "run")
    short: dict[str, Any] = {"until": 60, "total": 60, "layers": 4}
    play(make_trial(run, 0), Script(**short))
    play(make_trial(run, 1), Script(**short, stalled=True, outcome="stopped", decision=DECISION))
    play(make_trial(run, 2), Script(**short, stalled=True, loss=1.3))
    (run.path / "sweep.yaml").write_text("name: run\n")
    spec = {"name": "run", "method": "grid", "metric": {"name": "accuracy/test"}, "budget": {"hours": 2.0}}
    write_json(run.spec, {"format": 1, "name": "run", "spec": spec, "provenance": {"commit": "abc"}})
    started = SweepStarted(time=START, pid=1, host="h", profile="", slots=("cpu 0",))
    run.log.write_bytes(encode(started) + encode(SweepEnded(time=START + 90, outcome="complete", seconds=90.0)))
    return run.path


@pytest.fixture(scope="module")
def figures() -> TrialFigures:
    return TrialFigures(4)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "run"


def read_everything(  # noqa: C901 - a reader after the other
    path: Path, figures: TrialFigures, drawn: Iterable[int] = (0, 1)
) -> list[str]:
    """Let every reader read the run; what they say, or how they refuse. TensorBoard gets the trials `drawn`."""
    run, said = SweepDir(path), []

    def tried(read: Callable[[], str]) -> None:
        try:
            with within(PATIENCE_S):
                said.append(read())
        except SweeperError as error:
            said.append(str(error))

    def status() -> str:
        sweep = read_sweep(run)
        console = Console(file=io.StringIO(), width=100, force_terminal=False)
        console.print(status_table(sweep, width=100))
        json.dumps(to_json(sweep))
        return f"{console.file.getvalue()}{ranking_text(sweep)}"  # type: ignore[attr-defined]  # it is the StringIO

    def why(number: int) -> str:
        trials = [read_trial(trial) for trial in run.trials()]
        return receipt(read_trial(run.trial(number)), trials)

    def judged() -> str:
        report = backtest([read_recording(path, metric=None, goal=None)], arms(None)[:3])
        json.dumps(report_to_json(report))
        console = Console(file=io.StringIO(), width=100)
        console.print(report_table(report, each=True, trials=True))
        return ""

    def pictures(number: int) -> str:
        shutil.rmtree(run.tensorboard, ignore_errors=True)
        texts = SweepTexts(sweep_yaml="name: run\n")
        for _ in range(2):  # the second time it goes on from where the first one ended
            TrialRun(run, run.trial(number), figures=figures, every_steps=1_000).project(texts)
        return ""

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of numbers that are none
        tried(status)
        tried(lambda: str(len(recorded(run))))
        tried(judged)
        for number in (0, 1):
            tried(lambda number=number: why(number))  # type: ignore[misc]  # its default is bound here
        for number in drawn:
            tried(lambda number=number: pictures(number))  # type: ignore[misc]
    for text in said:
        assert_plain(text)
    return said


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, Callable[[bytes], bytes]]:
    """A file of the record, and what is done to it."""
    file = draw(st.sampled_from(FILES))
    kind = draw(st.sampled_from(["value", "value", "value", "key", "lines", "bytes"]))
    where, value = draw(st.integers(0, 10**6)), draw(VALUES)
    garbage, length = draw(st.sampled_from(GARBAGE) | st.binary(max_size=20)), draw(st.sampled_from([0, 1, 40, 400]))
    key = draw(st.sampled_from(["event", "step", "time", "values", "attempt", "row", "", "decision", "params"]))

    def edited(raw: bytes) -> bytes:
        raw = _CHECKSUM.sub(b"}", raw)  # as in a record of a format without them: otherwise nothing edited is believed
        if kind == "bytes" or file.endswith(".f32"):
            start = where % (len(raw) + 1)
            return raw[:start] + garbage + raw[start + length :]
        whole = file.endswith(".json")
        lines = [raw] if whole else raw.splitlines()
        at = where % len(lines)
        if kind == "lines" and not whole:
            put = [[], [lines[at], lines[at]], [garbage], [garbage, lines[at]], lines[::-1]][where // 7 % 5]
            return b"\n".join([*lines[:at], *put, *lines[at + 1 :]]) + b"\n"
        body = json.loads(lines[at])
        names = list(body)
        if kind == "key":
            body[key] = value
        else:
            place = _inside(body, names[where // 7 % len(names)], where // 77)
            place[0][place[1]] = value
            if where % 5 == 0:
                del place[0][place[1]]
        lines[at] = json.dumps(body).encode()
        return b"\n".join(lines) + b"\n"

    return file, edited


def _inside(body: Any, name: Any, choice: int) -> tuple[Any, Any]:
    """A place in the data: the entry itself, or something within it."""
    inner = body[name]
    keys = list(inner) if isinstance(inner, dict) else list(range(len(inner))) if isinstance(inner, list) else []
    if not keys or choice % 3 == 0:
        return body, name
    return _inside(inner, keys[choice % len(keys)], choice // 3)


@FEW
@given(changes=st.lists(edits(), min_size=1, max_size=3))
def test_an_edited_record_is_read_or_refused_in_words(
    whole: Path, place: Path, figures: TrialFigures, changes: list[tuple[str, Callable[[bytes], bytes]]]
) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    for file, edited in changes:
        raw = (place / file).read_bytes()
        try:
            (place / file).write_bytes(edited(raw))
        except (ValueError, IndexError, AttributeError, TypeError):
            continue  # an earlier change left nothing that this one can apply to
    # A picture takes longer than all the rest: only of a trial that was changed, and by the last change.
    last = changes[-1][0]
    read_everything(place, figures, [int(last.split("/")[1])] if last.startswith("trials/") else [])


def edit(path: Path, **changes: Any) -> None:
    write_json(path, {**read_json(path), **changes})


WRONG_FACTS: list[dict[str, Any]] = [
    {"seeds": "3"},
    {"seeds": None},
    {"number": True},
    {"seed": HUGE},
    {"params": []},
    {"shown": "lr"},
    {"command": "true"},
    {"metric": 3},
    {"checkpoint_every_s": "600"},
    {"resources": None},
]


@pytest.mark.parametrize("change", WRONG_FACTS, ids=[next(iter(change)) for change in WRONG_FACTS])
def test_facts_of_a_wrong_type_are_named(whole: Path, place: Path, change: dict[str, Any]) -> None:
    shutil.copytree(whole, place)
    edit(place / "trials/0001/trial.json", **change)
    (reason,) = read_sweep(SweepDir(place)).unreadable
    assert f"trials/0001/trial.json: {next(iter(change))}: expected " in reason


@pytest.mark.parametrize("bound", ["2", [2], True, HUGE])
def test_a_budget_that_is_no_number_is_named(whole: Path, place: Path, bound: object) -> None:
    shutil.copytree(whole, place)
    edit(place / "spec.json", spec={"budget": {"hours": bound, "unknown": 1}})
    with pytest.raises(RecordError, match=r"spec\.budget\.hours: expected a number, got "):
        read_sweep(SweepDir(place))


NO_EVENTS = [
    b'{"event":"Metrics","step":99999999999999999999,"values":{"loss":1}}',
    b'{"event":"Metrics","step":true,"values":{"loss":1}}',
    b'{"event":"Metrics","step":1,"values":{"loss":%s}}' % str(HUGE).encode(),
    b'{"event":"Observation","step":1}',
    b'{"event":"Checkpointed","step":"1","file":"x"}',
    b'{"event":["Metrics"]}',
    b"[" * 100_000,
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("line", NO_EVENTS, ids=[ascii(line[:40]) for line in NO_EVENTS])
def test_a_line_that_is_no_event_is_counted_and_hides_no_other(whole: Path, place: Path, line: bytes) -> None:
    shutil.copytree(whole, place)
    before = read_trial(SweepDir(place).trial(0))
    journal = place / "trials/0000/attempts/1/events.jsonl"
    first, *others = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([first, line, *others]) + b"\n")
    after = read_trial(SweepDir(place).trial(0))
    assert (after.damaged, after.state) == (1, before.state)
    assert repr(after.progress) == repr(before.progress)  # NaN is in it, which equals nothing


_opened: list[str] = []
_listening: list[bool] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _listening:
        _opened.append(str(arguments[0]))


@pytest.mark.parametrize("forged", ["../../../../outside.pt", "/{outside}", "step-000000128.0123456789abcdef.pt"])
def test_a_forged_checkpoint_leads_nowhere(whole: Path, place: Path, figures: TrialFigures, forged: str) -> None:
    """The file that a `Checkpointed` names is told to people: it is never opened, wherever it points."""
    shutil.copytree(whole, place)
    outside = place.parent / "outside.pt"
    outside.write_bytes(b"x")
    file = forged.format(outside=str(outside).lstrip("/"))
    with JournalWriter(place / "trials/0001/attempts/1/events.jsonl") as journal:
        journal.append(Checkpointed(step=59, file=file))
    sys.addaudithook(_hear)
    _listening.append(True)
    try:
        read_everything(place, figures, [1])
        assert checkpoint.checkpoints(SweepDir(place).trial(1).checkpoints) == []
    finally:
        _listening.clear()
    opened = {Path(path).resolve() for path in _opened}
    assert opened
    assert outside.resolve() not in opened
    assert not [path for path in opened if path.suffix == ".pt"]


def test_a_label_of_any_parameters_is_a_file_name(whole: Path, place: Path) -> None:
    for text in ("é" * 10_000, "../" * 100, "\U0001f600" * 300, "\x1b[31m", "字" * 300, "a/b", "-x", "\udcff"):
        label = replace(read_trial(SweepDir(whole).trial(0)).facts, shown={"text": text, "api_key": "c4n4ry"}).label
        place.mkdir(exist_ok=True)
        (place / label).mkdir()
        assert [path.name for path in place.iterdir()] == [label]
        assert "c4n4ry" not in label
        (place / label).rmdir()


NO_DERIVATIONS: list[Any] = ["0001", 1, [], {"parent": "1"}, {"parent": HUGE}, {"step": 3}, {"parent": 1, "step": 3}]
NO_DERIVATIONS += [{"parent": 1, "checkpoint": f"../../{name}", "step": 3} for name in ("0000/trial.json", "x" * 5000)]
NO_DERIVATIONS += [{"parent": 1, "lr_factor": factor} for factor in ("nan", 0, -1, "x", 1e999)]
ODD_DERIVATIONS: list[Any] = [
    {"parent": 1, "changes": {"\x1b[31m": "\x1b[31m", "api_key": "c4n4ry"}, "by": "\x1b[31m", "reason": "a\nb"},
    {"parent": 10**18, "run": "../../outside", "points_to": "../../../outside"},
    {"parent": 0, "run": "\x1b[31m" * 200},
]


@pytest.mark.parametrize("number", range(len(NO_DERIVATIONS)))
def test_what_is_no_derivation_is_named(whole: Path, place: Path, number: int) -> None:
    shutil.copytree(whole, place)
    edit(place / "trials/0000/trial.json", derived=NO_DERIVATIONS[number])
    (reason,) = read_sweep(SweepDir(place)).unreadable
    assert "trials/0000/trial.json: expected the facts of a trial, got: " in reason
    assert_plain(reason)


@pytest.mark.parametrize("number", range(len(ODD_DERIVATIONS)))
def test_an_odd_derivation_is_shown_harmlessly(whole: Path, place: Path, figures: TrialFigures, number: int) -> None:
    shutil.copytree(whole, place)
    edit(place / "trials/0000/trial.json", derived=ODD_DERIVATIONS[number])
    edit(place / "trials/0001/trial.json", derived={"parent": 0})  # with the first case, a circle
    said = read_everything(place, figures, [0])
    assert not any("c4n4ry" in text for text in said)
    assert len(read_sweep(SweepDir(place)).trials) == 3
