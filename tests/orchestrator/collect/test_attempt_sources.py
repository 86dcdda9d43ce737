"""What a script writes and prints becomes metrics: each value once, whatever happens to files and orchestrators."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.orchestrator.collect.sources import Watched, logged, summed, wandb_file

OUTPUT = {"loss": {"output": r"epoch (?P<step>\d+): loss (\S+)"}}
TABLE = {"f1": {"csv": {"file": "results/*.csv", "column": "f1", "step": "epoch"}}}
LINES = {"bleu": {"json": {"file": "metrics.jsonl", "key": "eval.bleu", "step": "epoch"}}}


# ---- output ---------------------------------------------------------------------------------------------------------


def test_numbers_are_found_in_the_output_with_their_steps(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **OUTPUT)
    watched.prints("hello\nepoch 0: loss 2.5\nepoch 1: loss 1e-3\nepoch 2: lo")
    watched.collect()
    assert watched.history("loss") == [(0, 2.5), (1, 1e-3)]
    watched.prints("ss 0.25\n")
    watched.collect()
    assert watched.history("loss")[2:] == [(2, 0.25)]


def test_the_last_line_needs_no_newline_once_the_attempt_has_ended(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **OUTPUT)
    watched.prints("epoch 0: loss 2.5")
    assert watched.collect() == []
    watched.collect(final=True)
    assert watched.collect(final=True) == []
    assert watched.history("loss") == [(0, 2.5)]


def test_a_progress_bar_writes_many_values_on_one_line(tmp_path: Path) -> None:
    watched = Watched(tmp_path, loss={"output": "loss=([^,]+),"})
    watched.prints("\r 10% loss=3.0, \r 20% loss=2.0, \r\nloss=1.0, \n")
    watched.collect()
    assert watched.history("loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]


@pytest.mark.parametrize(
    ("text", "value"),
    [("nan", math.nan), ("NaN", math.nan), ("inf", math.inf), ("-Infinity", -math.inf), ("93.5%", 93.5), ("1,", 1.0)],
)
def test_a_number_may_be_written_in_several_ways(tmp_path: Path, text: str, value: float) -> None:
    watched = Watched(tmp_path, acc={"output": r"acc: (\S+)"})
    watched.prints(f"acc: {text}\n")
    watched.collect()
    ((_, seen),) = watched.history("acc")
    assert seen == pytest.approx(value, nan_ok=True)


def test_a_group_that_is_no_number_is_a_problem_that_is_recorded_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"output": r"acc: (\S+)"})
    watched.prints("acc: high\nacc: higher\n")
    watched.collect()
    watched.prints("acc: highest\n")
    watched.restart()
    watched.collect()
    assert watched.problems() == ["expected a number in the group of the regular expression, got 'higher'"]


def test_a_value_without_a_step_gets_the_optimizer_step_or_else_its_number(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"output": "acc (?P<value>.+)"}, loss={"output": "loss (.+)"})
    watched.prints("acc 1\nacc 2\nloss 3\n")
    watched.collect()
    watched.prints("acc 4\n")
    watched.restart()
    watched.collect()
    watched.prints("acc 5\n")
    watched.collect(step=700)
    assert watched.history("acc") == [(0, 1.0), (1, 2.0), (2, 4.0), (700, 5.0)]
    assert watched.history("loss") == [(0, 3.0)]


def test_an_expression_that_never_ends_is_given_up_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.orchestrator.collect.output.LONGEST_SEARCH_S", 0.05)
    watched = Watched(tmp_path, slow={"output": "((a+)+)$"}, acc={"output": "acc (.+)"})
    watched.prints("a" * 3000 + "!\nacc 1\n")
    watched.collect()
    assert watched.history("acc") == [(0, 1.0)]
    watched.launch()  # neither is it used for another attempt
    watched.prints("a" * 3000 + "!\nacc 2\n")
    watched.collect()
    assert watched.history("acc") == [(0, 2.0)]
    (problem,) = watched.problems()
    assert problem.startswith("the regular expression takes too long for a line of the output, 'aaaa")


def test_binary_junk_and_endless_lines_do_no_harm(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"output": "acc (.+)"})
    watched.prints(b"\xff\xfe\x00\n" + b"x" * (3 << 20) + b"\nacc 1\n")
    watched.collect(final=True)
    assert watched.history("acc") == [(0, 1.0)]


def test_a_retry_prints_to_a_file_of_its_own_and_supersedes_from_its_first_step_on(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **OUTPUT)
    watched.prints("epoch 0: loss 3\nepoch 1: loss 2\nepoch 2: loss 1\n")
    watched.collect(final=True)
    watched.launch()
    watched.prints("epoch 1: loss 2.5\n")
    watched.collect()
    assert watched.history("loss") == [(0, 3.0), (1, 2.5)]


# ---- CSV ------------------------------------------------------------------------------------------------------------


def test_columns_of_a_table_are_read_as_it_grows(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **TABLE, loss={"csv": {"file": "results/*.csv", "column": "loss"}})
    watched.write("results/a.csv", "\ufeffepoch, loss , f1\r\n0,2.5,0.1\r\n1,2.0,0.2\r\n2,1.")
    (first, second) = watched.collect()
    assert (first.values, second.values) == ({"f1": 0.1, "loss": 2.5}, {"f1": 0.2, "loss": 2.0})
    watched.write("results/a.csv", "5,\r\n3,,0.4\r\n", append=True)
    watched.collect()
    assert watched.history("f1") == [(0, 0.1), (1, 0.2), (3, 0.4)]
    assert watched.history("loss") == [(0, 2.5), (1, 2.0), (2, 1.5)]


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_the_delimiter_is_seen_from_the_header(tmp_path: Path, delimiter: str) -> None:
    watched = Watched(tmp_path, **TABLE)
    watched.write("results/a.csv", f"# by hand\n\nepoch{delimiter}f1\n4{delimiter}0.5\n")
    watched.collect()
    assert watched.history("f1") == [(4, 0.5)]


def test_a_table_that_is_written_anew_with_more_rows_gives_each_value_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **TABLE, plain={"csv": {"file": "results/*.csv", "column": "f1"}})
    rows = [f"{epoch},{epoch / 10}" for epoch in range(5)]
    for count in range(1, 6):
        watched.write("results/a.csv", "\n".join(["epoch,f1", *rows[:count], ""]))
        watched.collect()
    # A new column moves every row: the file is not the one that was read.
    watched.write("results/a.csv", "\n".join(["epoch,f1,new", *(f"{row},7" for row in rows), "5,0.5,7", ""]))
    watched.collect()
    assert watched.history("f1") == [(epoch, epoch / 10) for epoch in range(6)]
    assert [value for _, value in watched.history("plain")] == [epoch / 10 for epoch in range(6)]


def test_a_table_without_steps_may_be_written_anew_again_and_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path, f1={"csv": "f1"})
    for count in range(1, 5):
        head = ",".join(["f1", *(f"column{i}" for i in range(count))])
        rows = [",".join([str(float(row)), *["7"] * count]) for row in range(count)]
        watched.write("a.csv", "\n".join([head, *rows, ""]))
        watched.collect()
    assert watched.history("f1") == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_shorter_file_is_a_new_one(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **TABLE)
    watched.write("results/a.csv", "epoch,f1\n0,0.1\n1,0.2\n")
    watched.collect()
    watched.write("results/a.csv", "epoch,f1\n2,0.3\n")
    watched.collect()
    assert watched.history("f1") == [(0, 0.1), (1, 0.2), (2, 0.3)]


@pytest.mark.parametrize("dies", [True, False])
def test_a_rotated_file_is_known_under_its_new_name(tmp_path: Path, *, dies: bool) -> None:
    watched = Watched(tmp_path, f1={"csv": {"file": "results/*", "column": "f1"}})
    watched.write("results/log.csv", "f1\n1\n2\n")
    watched.collect()
    folder = watched.trial.path / "results"
    (folder / "log.csv").rename(folder / "log.csv.1")
    watched.write("results/log.csv.1", "3\n", append=True)
    watched.write("results/log.csv", "f1\n4\n")
    if dies:
        watched.restart()
    watched.collect()
    assert sorted(value for _, value in watched.history("f1")) == [1.0, 2.0, 3.0, 4.0]


def test_a_retry_that_writes_the_header_again_supersedes_from_its_first_step_on(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **TABLE)
    watched.write("results/a.csv", "epoch,f1\n0,0.1\n1,0.2\n")
    watched.collect(final=True)
    watched.launch()
    watched.write("results/a.csv", "f1,epoch\n0.7,1\n", append=True)
    watched.collect()
    assert watched.history("f1") == [(0, 0.1), (1, 0.7)]


def test_a_retry_that_overwrites_the_file_with_equal_values_keeps_them(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **TABLE)
    watched.write("results/a.csv", "epoch,f1\n0,0.1\n1,0.2\n")
    watched.collect(final=True)
    watched.launch()
    watched.write("results/a.csv", "epoch,f1\n0,0.1\n")
    watched.collect()
    assert watched.history("f1") == [(0, 0.1)]


def test_what_a_table_lacks_is_noticed(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **TABLE)
    watched.write("results/a.csv", "step,f1\n0,low\n1,0.5\n")
    watched.collect()
    assert [one.names for one in watched.noticed() if one.names] == [("step", "f1")]
    assert watched.problems() == ["there is no column epoch for the step"]
    assert watched.history("f1") == [(0, 0.5)]


# ---- JSON -----------------------------------------------------------------------------------------------------------


def test_json_lines_are_read_as_they_grow(tmp_path: Path) -> None:
    watched = Watched(tmp_path, **LINES, last={"json": {"file": "metrics.jsonl", "key": "all.-1"}})
    watched.write("metrics.jsonl", '{"epoch": 0, "eval": {"bleu": 1.5}, "all": [1, 2]}\n{"epoch": 1, "ev')
    watched.collect()
    watched.write("metrics.jsonl", 'al": {"bleu": NaN}}\nnot json\n{"epoch": 2, "eval.bleu": "3"}\n', append=True)
    watched.collect()
    (first, second, third) = watched.history("bleu")
    assert (first, third) == ((0, 1.5), (2, 3.0))
    assert second[0] == 1
    assert math.isnan(second[1])
    assert watched.history("last") == [(0, 2.0)]
    assert watched.problems()[0] == "expected JSON, got 'not json'"


def test_a_document_that_is_replaced_gives_a_value_each_time_it_changes(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"json": "acc"}, late={"json": {"key": "acc", "step": "epoch"}})
    for epoch, accuracy in [(0, 0.5), (1, 0.5), (1, 0.5), (2, 0.7)]:
        watched.write("out/metrics.json", json.dumps({"acc": accuracy, "epoch": epoch}, indent=2))
        watched.collect()
        watched.restart()
    assert watched.history("acc") == [(0, 0.5), (1, 0.5), (2, 0.7)]
    assert watched.history("late") == [(0, 0.5), (1, 0.5), (2, 0.7)]


def test_a_document_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"json": "acc"})
    whole = json.dumps({"acc": 0.5, "more": list(range(9))}, indent=2)
    watched.write("metrics.json", whole[:20])
    assert watched.collect() == []
    watched.write("metrics.json", whole)
    watched.collect()
    assert watched.history("acc") == [(0, 0.5)]
    assert watched.problems() == []


def test_a_document_of_one_line_may_become_lines(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"json": "acc"})
    for accuracy in (0.5, 0.6, 0.7):
        watched.write("metrics.json", json.dumps({"acc": accuracy, "why": "x" * 300}) + "\n", append=True)
        watched.collect()
    assert watched.history("acc") == [(0, 0.5), (1, 0.6), (2, 0.7)]


@pytest.mark.parametrize(
    ("data", "key", "value"),
    [
        ({"a": {"b": 1}}, "a.b", 1.0),
        ({"a.b": 1}, "a.b", 1.0),
        ({"a.b": {"c": 1}}, "a.b.c", 1.0),
        ({"a": [{"b": 1}, {"b": 2}]}, "a.1.b", 2.0),
        ({"eval/acc": 1}, "eval/acc", 1.0),
    ],
)
def test_dots_lead_into_mappings_and_lists(tmp_path: Path, data: object, key: str, value: float) -> None:
    watched = Watched(tmp_path, m={"json": key})
    watched.write("metrics.json", json.dumps(data))
    watched.collect()
    assert watched.history("m") == [(0, value)]


# ---- TensorBoard and wandb ------------------------------------------------------------------------------------------


def events(*values: tuple[str, float, int]) -> bytes:
    """Return an event file as TensorBoard's own writer makes it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    from sweeper.views.tensorboard.summaries import framed

    made = [Event(wall_time=1.0, file_version="brain.Event:2")]
    made += [
        Event(wall_time=1.0, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        for tag, value, step in values
    ]
    return b"".join(map(framed, made))


def test_tags_of_event_files_are_read_as_they_grow(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"tensorboard": "val/acc"})
    data = events(("val/acc", 0.5, 10), ("loss", 1.0, 10), ("val/acc", 0.75, 20))
    watched.write("runs/now/events.out.tfevents.1", data[:-5])
    watched.collect()
    assert watched.history("acc") == [(10, 0.5)]
    watched.write("runs/now/events.out.tfevents.1", data[-5:], append=True)
    watched.write("runs/now/events.out.tfevents.2", events(("val/acc", math.inf, 30)))
    watched.collect()
    assert watched.history("acc") == [(10, 0.5), (20, 0.75), (30, math.inf)]
    assert [name for one in watched.noticed() for name in one.names] == ["val/acc", "loss"]


def test_a_damaged_event_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    watched = Watched(tmp_path, acc={"tensorboard": "acc"})
    watched.write("a.tfevents.1", b"\xff" * 100)
    watched.write("b.tfevents.1", events(("acc", 0.5, 1)))
    watched.collect()
    assert watched.history("acc") == [(1, 0.5)]
    assert watched.problems() == ["an event file is damaged; what follows in it is not read"]


def test_one_tag_in_several_folders_is_a_problem_that_a_file_pattern_solves(tmp_path: Path) -> None:
    both = {"both": {"tensorboard": "epoch_loss"}}
    watched = Watched(tmp_path, **both, val={"tensorboard": {"tag": "epoch_loss", "file": "logs/validation/*"}})
    watched.write("logs/train/events.out.tfevents.1", events(("epoch_loss", 1.0, 0)))
    watched.write("logs/validation/events.out.tfevents.1", events(("epoch_loss", 2.0, 0)))
    watched.collect()
    assert watched.history("val") == [(0, 2.0)]
    assert watched.problems() == [
        "its values come from several places (logs/train, logs/validation); choose one with `file`"
    ]


def test_keys_of_an_offline_run_of_wandb_are_read_as_it_grows(tmp_path: Path) -> None:
    watched = Watched(tmp_path, loss={"wandb": "val.loss"}, best={"wandb": "best"})
    messages = [logged(step, {"val.loss": 1 / (step + 1), "text": "x" * 20_000}) for step in range(5)]
    data = wandb_file([*messages, summed({"val.loss": 0.2, "best": 0.9})])
    for size in (3, 100, 45_000, 90_000, len(data)):
        watched.write("wandb/offline-run-1/run-1.wandb", data[:size])
        watched.collect()
    assert [step for step, _ in watched.history("loss")] == list(range(5))
    assert watched.history("best") == []  # a summary is final once the run has ended
    watched.restart()
    watched.collect(final=True)
    watched.restart()
    watched.collect(final=True)
    assert watched.history("best") == [(4, 0.9)]
    assert len(watched.history("loss")) == 5


def test_a_wandb_key_may_be_nested_and_not_a_number(tmp_path: Path) -> None:
    watched = Watched(tmp_path, loss={"wandb": "val.loss"}, text={"wandb": "text"})
    data = wandb_file([logged(1, {("val", "loss"): 0.25, "text": "high"}), logged(2, {("val", "loss"): math.inf})])
    watched.write("wandb/offline-run-1/run-1.wandb", data)
    watched.collect()
    assert watched.history("loss") == [(1, 0.25), (2, math.inf)]
    assert watched.problems() == ["expected a number, got 'high'"]


def test_the_history_of_older_versions_of_wandb_is_read(tmp_path: Path) -> None:
    watched = Watched(tmp_path, loss={"wandb": "val.loss"})
    watched.write("wandb/run-1/wandb-history.jsonl", '{"val": {"loss": 0.5}, "_step": 7}\n')
    watched.collect()
    assert watched.history("loss") == [(7, 0.5)]


def test_a_file_that_is_none_of_wandb_is_named(tmp_path: Path) -> None:
    watched = Watched(tmp_path, loss={"wandb": "loss"})
    watched.write("wandb/run-1.wandb", b"something else")
    watched.collect()
    assert watched.problems() == ["it is not a file of wandb"]


# ---- which files ----------------------------------------------------------------------------------------------------


def test_links_and_hidden_files_are_not_followed(tmp_path: Path) -> None:
    watched = Watched(tmp_path, f1={"csv": {"file": "**/*.csv", "column": "f1"}})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text("f1\n1\n")
    folder = watched.trial.path
    (folder / "folder").symlink_to(outside)
    (folder / "a.csv").symlink_to(outside / "a.csv")
    os.mkfifo(folder / "b.csv")
    watched.write(".c.csv.part", "f1\n2\n")
    watched.write("d.csv/e.csv", "f1\n3\n")
    watched.write("attempts/1/f.csv", "f1\n4\n")
    watched.collect()
    assert watched.history("f1") == [(0, 3.0)]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, **TABLE)
    watched.write("results/a.csv", "epoch,f1\n0,1\n")

    def refuse(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("sweeper.orchestrator.collect.attempt_sources.open_regular", refuse)
    watched.collect()
    assert watched.problems() == ["results/a.csv cannot be read: Permission denied"]


# ---- any growth, any restart ----------------------------------------------------------------------------------------


def _csv(values: list[float]) -> tuple[str, bytes]:
    return "results/a.csv", "".join(["epoch,f1\n", *(f"{i},{v!r}\n" for i, v in enumerate(values))]).encode()


def _lines(values: list[float]) -> tuple[str, bytes]:
    return "metrics.jsonl", "".join(f'{{"f1": {value!r}}}\n' for value in values).encode()


def _output(values: list[float]) -> tuple[str, bytes]:
    return "attempts/1/output.log", "".join(f"noise\nf1 {value!r}\r" for value in values).encode()


def _events(values: list[float]) -> tuple[str, bytes]:
    return "events.out.tfevents.1", events(*(("f1", value, step) for step, value in enumerate(values)))


def _wandb(values: list[float]) -> tuple[str, bytes]:
    return "wandb/run-1.wandb", wandb_file(logged(step, {"f1": value}) for step, value in enumerate(values))


FORMS = [
    ({"csv": {"file": "**/*.csv", "column": "f1"}}, _csv),
    ({"json": "f1"}, _lines),
    ({"output": "^f1 (.+)"}, _output),
    ({"tensorboard": "f1"}, _events),
    ({"wandb": "f1"}, _wandb),
]


@pytest.mark.parametrize(("source", "form"), FORMS)
@settings(max_examples=25)
@given(
    values=st.lists(st.integers(0, 3).map(float), min_size=1, max_size=12),
    cuts=st.lists(st.tuples(st.integers(0, 700), st.booleans()), max_size=8),
)
def test_no_value_is_lost_or_read_twice_whenever_the_orchestrator_reads_or_dies(
    source: dict[str, object],
    form: Callable[[list[float]], tuple[str, bytes]],
    values: list[float],
    cuts: list[tuple[int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder), f1=source)
        name, data = form(values)
        for size, dies in sorted(cuts):
            watched.write(name, data[:size])
            watched.collect()
            if dies:
                watched.restart()
        watched.write(name, data)
        watched.collect(final=True)
        assert watched.history("f1") == list(enumerate(values))


@pytest.mark.parametrize(("source", "form"), FORMS)
@settings(max_examples=60)
@given(data=st.data())
def test_damaged_files_do_not_end_the_orchestrator(
    source: dict[str, object], form: Callable[[list[float]], tuple[str, bytes]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder), f1=source)
        name, whole = form([1.0, 2.0, 3.0])
        for final in (False, True):
            damaged = bytearray(whole)
            for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)))):
                damaged[place] = byte
            watched.write(name, bytes(damaged) + data.draw(st.binary(max_size=40)))
            watched.collect(final=final)
        assert len(watched.history("f1")) <= 40


@pytest.mark.parametrize(("source", "form"), FORMS)
def test_a_file_that_is_truncated_while_it_is_read_does_no_harm(
    source: dict[str, object], form: Callable[[list[float]], tuple[str, bytes]], tmp_path: Path
) -> None:
    watched = Watched(tmp_path, f1=source)
    name, whole = form([1.0, 2.0])
    for size in range(0, len(whole), 7):
        watched.write(name, whole[:size])
        fd = os.open(watched.trial.path / name, os.O_RDONLY)
        reader = watched.groups[0].reader(name, ())
        assert len(list(reader.read(fd, len(whole), final=True))) <= 2
        os.close(fd)
