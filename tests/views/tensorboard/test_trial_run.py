"""TensorBoard runs, read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginEventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from sweeper.record.decision import Decision
from sweeper.record.derivation import Derivation
from sweeper.record.events import Collected, Exit, Launched, Metrics, Noted, Observation, RetryGranted, StopRequested
from sweeper.record.reader import read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.views.figures.history import DepthHistory, RecordedObservation
from sweeper.views.figures.panels import SIZE
from sweeper.views.figures.stop_mark import StopMark
from sweeper.views.figures.trial_figures import TrialFigures
from sweeper.views.tensorboard.curves import comparison_charts
from sweeper.views.tensorboard.trial_run import SweepTexts, TrialRun
from tests.views.synthetic import DECISION, START, Script, began, diagnose, make_trial, over, play, watching

FIGURES = TrialFigures()
TEXTS = SweepTexts(sweep_yaml="name: warmup\n", provenance={"commit": "1dc8d66", "packages": {"torch": "2.13.0"}})


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    return SweepDir(tmp_path)


def project(run: SweepDir, trial: TrialDir, every: int = 30) -> TrialRun:
    projected = TrialRun(run, trial, figures=FIGURES, every_steps=every)
    projected.project(TEXTS)
    return projected


def folder(run: SweepDir) -> Path:
    return next(run.tensorboard.iterdir())


def read_back(run: SweepDir) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder(run)), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def steps(run: SweepDir, tag: str) -> list[int]:
    return [point.step for point in read_back(run).Scalars(tag)]


def image_steps(run: SweepDir, tag: str = "gradients") -> list[int]:
    return [point.step for point in read_back(run).Images(tag)]


def text(run: SweepDir, tag: str) -> str:
    found: Sequence[Any] = read_back(run).Tensors(tag)
    return str(found[-1].tensor_proto.string_val[0].decode())


def test_every_metric_and_observation_becomes_a_curve_with_the_recorded_times(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=100))
    project(run, trial)
    accumulator = read_back(run)
    assert set(accumulator.Tags()["scalars"]) == {
        "loss/train",
        "accuracy/train",
        "gradient/norm",
        "gradient/reach",
        "update_ratio/median",
        "learning_rate",
    }
    points = accumulator.Scalars("loss/train")
    assert [point.step for point in points] == list(range(9, 100, 10))
    assert points[0].wall_time == pytest.approx(START + 5.9)
    assert points[0].value == pytest.approx(1.4 * math.exp(-9 / 300))


def healths(run: SweepDir) -> list[tuple[int, str]]:
    """The texts under `health` that stand, with their steps."""
    accumulator = read_back(run)
    if "health" not in accumulator.Tags()["tensors"]:
        return []
    return [(one.step, one.tensor_proto.string_val[0].decode()) for one in accumulator.Tensors("health")]


def test_the_timeline_of_health_is_a_text_that_is_written_again_as_it_grows(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=100, outcome="", exit_code=None))
    projected = project(run, trial)
    assert healths(run) == []
    diagnose(trial, began("oscillating", 20, 40, reason="it *swings*"))
    projected.project(TEXTS)
    projected.project(TEXTS)
    ((step, text),) = healths(run)
    assert step == 40
    assert "- **since 20, found at 40** oscillating: it &#42;swings&#42;\n    - advice: " in text
    diagnose(trial, over("oscillating", 20, 90))
    project(run, trial)
    assert [step for step, _ in healths(run)] == [40, 90]
    assert "found at 40" in healths(run)[-1][1]
    assert "- **at 90** oscillating no longer holds\n" in healths(run)[-1][1]


def test_a_change_of_health_that_is_recorded_after_the_end_is_shown(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=100))
    assert project(run, trial).done
    diagnose(trial, began("stuck", 20, 99))
    assert project(run, trial).done
    assert [step for step, _ in healths(run)] == [99]


def test_the_timeline_is_written_again_after_an_attempt_that_starts_from_scratch(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=100, outcome="", exit_code=1))
    diagnose(trial, began("stuck", 20, 90))
    project(run, trial)
    with JournalWriter(trial.control) as control:
        control.append(RetryGranted(time=START, attempt=1))
    play(trial, Script(number=2, until=30, outcome="", exit_code=None))
    diagnose(trial, over("stuck", 20, 90))
    project(run, trial)
    assert "stuck no longer holds" in healths(run)[-1][1]


def test_run_is_named_by_number_and_parameters(run: SweepDir) -> None:
    trial = make_trial(run, 7)
    play(trial, Script(until=5))
    project(run, trial)
    assert folder(run).name == "0007_lr=6e-4_warmup_fraction=0.1"


def test_learning_rate_of_the_script_is_preferred(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=1, outcome="", exit_code=None, extra=[Metrics(step=9, values={"learning_rate": 0.5})]))
    with JournalWriter(trial.attempt(1).events) as journal:
        for event, _ in Script(first=10, until=31, outcome="").events():
            journal.append(event)
    project(run, trial)
    points = read_back(run).Scalars("learning_rate")
    assert [(point.step, round(point.value, 6)) for point in points] == [(0, 6e-4), (9, 0.5)]


def test_undefined_reach_has_no_curve(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=30, layers=0))
    project(run, trial)
    assert "gradient/reach" not in read_back(run).Tags()["scalars"]


def test_nan_and_infinity_are_written_as_they_are(run: SweepDir) -> None:
    trial = make_trial(run)
    odd = [Metrics(step=5, values={"a": math.nan}), Metrics(step=6, values={"a": math.inf})]
    play(trial, Script(until=1, extra=odd))
    project(run, trial)
    values = [point.value for point in read_back(run).Scalars("a")]
    assert math.isnan(values[0])
    assert values[1] == math.inf


def test_pictures_are_drawn_at_their_interval_and_at_the_end(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=111))
    project(run, trial, every=25)
    assert image_steps(run) == [0, 30, 50, 80, 100, 110]
    assert image_steps(run, "update ratios") == image_steps(run)
    first = read_back(run).Images("gradients")[0]
    assert (first.width, first.height) == SIZE
    assert Image.open(io.BytesIO(first.encoded_image_string)).size == SIZE


def test_depth_map_and_histogram_are_at_the_steps_of_the_other_pictures(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=111))
    project(run, trial, every=25)
    assert image_steps(run, "depth profile") == image_steps(run)
    points = read_back(run).Tensors("update_ratio/layers")
    assert [point.step for point in points] == image_steps(run)
    counts = [tensor_util.make_ndarray(point.tensor_proto)[:, 2].sum() for point in points]
    assert counts == [101, *[102] * (len(counts) - 1)]  # the classifier starts at zero: no ratio at the first look
    metadata_ = read_back(run).SummaryMetadata("update_ratio/layers")
    assert metadata_.plugin_data.plugin_name == "histograms"
    assert "logarithm" in metadata_.summary_description


def test_if_only_reach_is_watched_there_are_its_curve_and_the_depth_map(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, statistics=("grad_norm",)))
    project(run, trial)
    tags = read_back(run).Tags()
    assert tags["images"] == ["depth profile"]
    assert image_steps(run, "depth profile") == [0, 30, 50]
    assert {"gradient/reach", "learning_rate"} <= set(tags["scalars"])
    assert not {"update_ratio/median", "update_ratio/layers"} & {*tags["scalars"], *tags["tensors"]}


@pytest.mark.parametrize("skipped", [0, 2])
def test_skipped_steps_have_a_curve_if_there_are_any(run: SweepDir, skipped: int) -> None:
    trial = make_trial(run)
    play(trial, Script(until=31, skipped=skipped))
    project(run, trial)
    tags = read_back(run).Tags()["scalars"]
    assert ("steps/skipped" in tags) == (skipped > 0)
    if skipped:
        assert [point.value for point in read_back(run).Scalars("steps/skipped")] == [2, 4, 6, 8]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_depth_map_of_a_resumed_trial_shows_only_valid_steps(run: SweepDir, *, at_once: bool) -> None:
    """Up to the resume, the observations of the first attempt; then those of the second. Restarts do not matter."""
    trial, seen, expected = make_trial(run), watching(), DepthHistory()
    play(trial, Script(until=56, outcome="stopped"))
    projected = project(run, trial)
    play(trial, Script(number=2, first=31, until=75, stalled=True))
    if at_once:
        project(run, trial)
    else:
        projected.project(TEXTS)
    for number in (1, 2):
        for event in read_journal(trial.attempt(number).events):
            if isinstance(event, Observation) and (number == 2 or event.step < 31):
                expected.add(RecordedObservation(event, seen, trial.attempt(number)))
    (last,) = (image for image in read_back(run).Images("depth profile") if image.step == 70)
    assert {"depth profile": last.encoded_image_string} == FIGURES.draw_history(seen, expected, None)


def test_the_last_depth_map_shows_a_decision_made_after_the_last_picture(run: SweepDir) -> None:
    trial, expected = make_trial(run), DepthHistory()
    play(trial, Script(until=121, stalled=True, outcome="stopped", exit_code=None))
    projected = project(run, trial)
    assert image_steps(run, "depth profile")[-1] == 120
    with JournalWriter(trial.control) as control:
        control.append(
            StopRequested(time=START, attempt=1, cause="pruned", decision=Decision.read({**DECISION, "step": 120}))
        )
    ended = Exit(time=START + 99, attempt=1, code=0, signal=None, cause="completed", peak_memory_mb=1.0)
    trial.attempt(1).exit.write_bytes(encode(ended))
    projected.project(TEXTS)
    for event in read_journal(trial.attempt(1).events):
        if isinstance(event, Observation):
            expected.add(RecordedObservation(event, watching(), trial.attempt(1)))
    drawn = FIGURES.draw_history(watching(), expected, StopMark.of(read_trial(trial)))
    assert {"depth profile": read_back(run).Images("depth profile")[-1].encoded_image_string} == drawn
    assert image_steps(run)[-2:] == [90, 120]


def test_last_figure_waits_for_the_end_of_the_trial(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="", exit_code=None))
    project(run, trial)
    assert image_steps(run) == [0, 30]


def test_missing_row_moves_the_figure_to_the_next_observation(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=31, outcome="", exit_code=None))
    rows = trial.attempt(1).layers
    rows.write_bytes(rows.read_bytes()[:-4])
    project(run, trial)
    assert image_steps(run) == [0]
    assert steps(run, "gradient/reach") == [0, 10, 20, 30]


def hparams(run: SweepDir) -> dict[str, Any]:
    accumulator = PluginEventAccumulator(str(folder(run)))
    accumulator.Reload()
    return dict(accumulator.PluginTagToContent("hparams"))


def test_hparams_list_the_trial_while_it_runs_and_say_how_it_ended(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=20, outcome="", exit_code=None))
    projected = project(run, trial)
    content = hparams(run)
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["lr"].number_value == 6e-4
    assert metadata.SESSION_END_INFO_TAG not in content
    assert not projected.done


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({}, {"lr": 6e-4, "warmup_fraction": 0.1}),
        ({"seeds": 2, "seed": 1}, {"lr": 6e-4, "warmup_fraction": 0.1, "seed": 1}),
        ({"shown": {}, "params": {"a": True, "b": [1, "x"]}}, {"a": True, "b": '[1, "x"]', "seed": 0}),
    ],
)
def test_the_columns_of_hparams_are_the_varied_parameters_or_all_of_a_single_trial(
    run: SweepDir, changes: dict[str, Any], columns: dict[str, object]
) -> None:
    trial = make_trial(run, **changes)
    play(trial, Script(until=20, outcome="", exit_code=None))
    project(run, trial)
    start = metadata.parse_session_start_info_plugin_data(hparams(run)[metadata.SESSION_START_INFO_TAG])
    assert {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()} == columns


@pytest.mark.parametrize("decision", [None, DECISION])
def test_only_a_pruned_trial_has_the_metric_of_its_stop(run: SweepDir, decision: dict[str, object] | None) -> None:
    """HParams knows only success and failure, and draws a column for each curve."""
    trial = make_trial(run)
    play(trial, Script(until=131, outcome="stopped" if decision else "completed", decision=decision))
    project(run, trial)
    pruned = "pruned/step" in read_back(run).Tags()["scalars"]
    assert pruned == (decision is not None)
    if pruned:
        assert [(point.step, point.value) for point in read_back(run).Scalars("pruned/step")] == [(130, 130.0)]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (Script(until=20), api_pb2.STATUS_SUCCESS),
        (Script(until=20, outcome="failed", exit_code=1), api_pb2.STATUS_FAILURE),
        (Script(until=20, outcome="stopped", decision=DECISION), api_pb2.STATUS_FAILURE),
    ],
)
def test_end_of_a_trial_is_its_status(run: SweepDir, script: Script, status: int) -> None:
    trial = make_trial(run)
    play(trial, script)
    assert project(run, trial).done
    end = metadata.parse_session_end_info_plugin_data(hparams(run)[metadata.SESSION_END_INFO_TAG])
    assert end.status == status
    assert end.end_time_secs == script.time(20) + 1


def layout_of(run: SweepDir) -> dict[str, str]:
    """The charts of the page, by title: the pattern of their curves."""
    found: Sequence[Any] = read_back(run).Tensors(layout_metadata.CONFIG_SUMMARY_TAG)
    (category,) = layout_pb2.Layout.FromString(found[0].tensor_proto.string_val[0]).category
    return {chart.title: chart.multiline.tag[0] for chart in category.chart}


def test_first_screen_compares_objective_loss_reach_and_update_ratio(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=200))
    project(run, trial)
    tags = read_back(run).Tags()["scalars"]
    drawn = [[tag for tag in tags if re.match(pattern, tag)] for pattern in layout_of(run).values()]
    assert drawn == [["accuracy/test"], ["loss/train"], ["gradient/reach"], ["update_ratio/median"]]


@pytest.mark.parametrize(
    ("tag", "drawn"),
    [("loss", True), ("train/Loss", True), ("train_loss", True), ("loss/prior", False), ("val/loss", False)],
)
def test_the_training_loss_is_found_by_any_usual_name(tag: str, *, drawn: bool) -> None:
    assert bool(re.match(comparison_charts("accuracy")["training loss"], tag)) == drawn


def test_an_attempt_that_starts_from_scratch_keeps_the_first_screen(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="failed", exit_code=1))
    play(trial, Script(number=2, until=75))
    project(run, trial)
    assert len(layout_of(run)) == 4


def test_texts_show_sweep_trial_notes_and_decision(run: SweepDir) -> None:
    trial = make_trial(run)
    script = Script(
        until=131, stalled=True, outcome="stopped", decision=DECISION, extra=[Noted(text="data: synthetic")]
    )
    play(trial, script)
    project(run, trial)
    assert text(run, "sweep") == "```\nname: warmup\n```\n"
    assert "torch 2.13.0" in text(run, "trial")
    assert "| warmup&#95;fraction | 0.1 |" in text(run, "trial")
    assert text(run, "notes") == "data: synthetic"
    verdict = text(run, "decision")
    assert "rule **stalled** at step **130**" in verdict
    assert "| 130 | 5e-5 |" in verdict
    assert "| threshold | 0.03 |" in verdict


def test_a_trial_that_was_never_started_has_no_run(run: SweepDir) -> None:
    project(run, make_trial(run))
    assert not run.tensorboard.exists()


def test_a_restarted_views_process_continues_at_its_position(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="", exit_code=None))
    project(run, trial)
    before = {path.name: path.stat().st_size for path in folder(run).glob("events*")}
    with JournalWriter(trial.attempt(1).events) as journal:
        journal.append(Metrics(step=56, values={"loss/train": 0.5}))
    project(run, trial)
    sizes = {path.name: path.stat().st_size for path in folder(run).glob("events*")}
    assert sizes.items() >= before.items()
    assert steps(run, "loss/train") == [9, 19, 29, 39, 49, 56]
    assert image_steps(run) == [0, 30]


def test_a_trial_that_has_not_reported_yet_is_introduced_once(run: SweepDir) -> None:
    trial = make_trial(run)
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=START, attempt=1, slot="cpu:0"))
    projected = project(run, trial)
    size = sum(path.stat().st_size for path in folder(run).glob("events*"))
    projected.project(TEXTS)
    project(run, trial)
    assert sum(path.stat().st_size for path in folder(run).glob("events*")) == size > 0


def test_an_attempt_with_a_damaged_first_line_drops_nothing(run: SweepDir) -> None:
    """The fold lets it stand beside what was; so does the projection."""
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="stopped"))
    play(trial, Script(number=2, until=0, outcome="", exit_code=None))
    with trial.attempt(2).events.open("wb") as file:
        file.write(encode(Metrics(time=START + 20_000, step=57, values={"loss/train": 0.5})))
    project(run, trial)
    assert steps(run, "loss/train") == [9, 19, 29, 39, 49, 57]


def test_restart_after_the_end_writes_nothing(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56))
    project(run, trial)
    before = sorted(path.name for path in folder(run).iterdir())
    assert project(run, trial).done
    assert sorted(path.name for path in folder(run).iterdir()) == before


def test_events_after_the_position_are_written_once(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=40, outcome="", exit_code=None))
    project(run, trial)
    position = (folder(run) / ".position.json").read_bytes()
    with JournalWriter(trial.attempt(1).events) as journal:
        journal.append(Metrics(step=41, values={"loss/train": 0.5}))
    project(run, trial)
    (folder(run) / ".position.json").write_bytes(position)  # it died before it could note what it had written
    project(run, trial)
    assert steps(run, "loss/train") == [9, 19, 29, 39, 41]


@pytest.mark.parametrize("position", [b"", b"{}x", b"[]", b'{"format": 99}', b'{"attempt": 1, "file": 1, "size": 1e9}'])
def test_with_a_broken_position_everything_is_written_again(run: SweepDir, position: bytes) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56))
    project(run, trial)
    (folder(run) / ".position.json").write_bytes(position)
    project(run, trial)
    assert steps(run, "loss/train") == [9, 19, 29, 39, 49]
    assert image_steps(run) == [0, 30, 50]


def test_removed_run_is_rebuilt_while_it_is_followed(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="", exit_code=None))
    projected = project(run, trial)
    shutil.rmtree(run.tensorboard)
    projected.project(TEXTS)
    assert steps(run, "loss/train") == [9, 19, 29, 39, 49]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("first", [0, 31])
def test_a_resumed_attempt_drops_the_steps_beyond_its_checkpoint(run: SweepDir, first: int, *, at_once: bool) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="stopped"))
    if not at_once:
        project(run, trial)
    play(trial, Script(number=2, first=first, until=75, loss=0.25))
    project(run, trial)
    points = {point.step: point.value for point in read_back(run).Scalars("loss/train")}
    assert list(points) == [9, 19, 29, 39, 49, 59, 69]
    assert [value == 0.25 for value in points.values()] == [step >= first for step in points]
    assert image_steps(run) == [0, 30, 60, 70]
    assert text(run, "sweep")


def test_an_attempt_that_never_reported_drops_nothing(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="stopped"))
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=START + 100, attempt=2, slot="cpu:0"))
    project(run, trial)
    assert steps(run, "loss/train") == [9, 19, 29, 39, 49]


def test_a_retried_failure_rebuilds_the_run(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="failed", exit_code=1))
    projected = project(run, trial)
    with JournalWriter(trial.control) as control:
        control.append(RetryGranted(time=START + 99, attempt=1))
    play(trial, Script(number=2, first=0, until=60))
    projected.project(TEXTS)
    end = metadata.parse_session_end_info_plugin_data(hparams(run)[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS
    assert steps(run, "loss/train") == [9, 19, 29, 39, 49, 59]


def test_the_position_is_readable_json(run: SweepDir) -> None:
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="", exit_code=None))
    project(run, trial)
    position = json.loads((folder(run) / ".position.json").read_text())
    assert position["attempt"] == 1
    assert position["next_figure"] == 60
    assert position["size"] == (folder(run) / "events.out.tfevents.0000000001.sweeper").stat().st_size


def test_an_attempt_read_between_its_start_and_its_resume_hides_nothing(run: SweepDir) -> None:
    """A views process that was away sees the start first: by then all that the earlier attempt saw seems superseded."""
    trial = make_trial(run)
    play(trial, Script(until=56, outcome="stopped"))
    play(trial, Script(number=2, first=31, until=75, loss=0.25, exit_code=None, extra=[Noted(text="late")]))
    path = trial.attempt(2).events
    started, *others = read_journal(path)
    path.unlink()
    with JournalWriter(path) as journal:
        journal.extend([started, Noted(time=START, text="early"), *others])
    events = path.read_bytes()
    lines = events.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    projected = project(run, trial)
    path.write_bytes(b"".join(lines[:3]))
    projected.project(TEXTS)
    path.write_bytes(events)
    projected.project(TEXTS)
    assert steps(run, "loss/train") == [9, 19, 29, 39, 49, 59, 69]
    assert b"early" in b"".join(file.read_bytes() for file in folder(run).glob("events*"))


@given(st.data())
@settings(max_examples=15, deadline=None, phases=[Phase.generate])  # shrinking would take minutes
def test_however_the_record_arrives_and_whenever_the_process_dies_the_curves_are_the_same(data: st.DataObject) -> None:
    """Two attempts grow; between passes the process goes on, is restarted, or died before it noted its position."""
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as growing:
        runs = SweepDir(Path(whole)), SweepDir(Path(growing))
        source, grown = make_trial(runs[0]), make_trial(runs[1])
        play(source, Script(until=56, outcome="stopped"))
        play(source, Script(number=2, first=31, until=75, loss=0.25))
        project(runs[0], source, every=1000)
        reader = TrialRun(runs[1], grown, figures=FIGURES, every_steps=1000)
        launches = source.control.read_bytes().splitlines(keepends=True)
        for number, launch in enumerate(launches, start=1):
            old, new = source.attempt(number), grown.attempt(number)
            new.path.mkdir(parents=True)
            new.layers.write_bytes(old.layers.read_bytes())
            events = old.events.read_bytes()
            with grown.control.open("ab") as control:
                control.write(launch)
            lines = [*itertools.accumulate(map(len, events.splitlines(keepends=True)), initial=0)]
            cuts = st.builds(int.__add__, st.sampled_from(lines[:-1]), st.sampled_from([0, 5]))
            some = data.draw(st.lists(cuts, max_size=4).map(sorted))
            for begin, end in itertools.pairwise([0, *some, len(events)]):
                with new.events.open("ab") as file:
                    file.write(events[begin:end])
                fate = data.draw(st.sampled_from(["goes on", "restarted", "died"]))
                position = next(runs[1].tensorboard.glob("*/.position.json"), None)
                noted = position.read_bytes() if position is not None else None
                reader.project(TEXTS)
                if position is not None and noted is not None and fate == "died":
                    position.write_bytes(noted)
                if fate != "goes on":
                    reader = TrialRun(runs[1], grown, figures=FIGURES, every_steps=1000)
            new.exit.write_bytes(old.exit.read_bytes())
        reader.project(TEXTS)
        assert curves(runs[1]) == curves(runs[0])


def curves(run: SweepDir) -> dict[str, str]:
    """Every curve as text, in which NaN is equal to itself."""
    accumulator = read_back(run)
    return {
        tag: str([(point.step, point.value) for point in accumulator.Scalars(tag)])
        for tag in accumulator.Tags()["scalars"]
    }


def collect(trial: TrialDir, attempt: int, *steps: int, launch: bool = True, after: int = 0) -> None:
    """Record a launch, and metrics that were read from what its script wrote."""
    trial.attempt(attempt).path.mkdir(parents=True, exist_ok=True)
    with JournalWriter(trial.control) as control:
        if launch:
            control.append(Launched(time=START, attempt=attempt, slot="cpu 0"))
        for step in steps:
            values = {"acc": float(100 * attempt + step)}
            event = Collected(attempt=attempt, step=step, values=values, file="f", offset=1, after=after)
            control.append(replace(event, time=START + step))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_retry_replaces_the_collected_metrics_from_its_first_step_on(run: SweepDir, *, at_once: bool) -> None:
    """The script knows nothing of sweeper, so its own events say nothing about where it resumed."""
    trial = make_trial(run)
    collect(trial, 1, 0, 1, 2)
    projected = project(run, trial)
    collect(trial, 1, 3, launch=False)
    collect(trial, 2, 2)
    if at_once:
        project(run, trial)
    projected = project(run, trial) if at_once else projected
    projected.project(TEXTS)
    collect(trial, 2, 3, launch=False)
    projected.project(TEXTS)
    assert [(point.step, point.value) for point in read_back(run).Scalars("acc")] == [
        (0, 100.0),
        (1, 101.0),
        (2, 202.0),
        (3, 203.0),
    ]


@pytest.mark.parametrize("after", [0, 1])
def test_metrics_collected_before_a_worker_resumed_are_kept(run: SweepDir, after: int) -> None:
    trial = make_trial(run)
    play(trial, Script(until=40, outcome="", exit_code=None))
    project(run, trial)
    before = steps(run, "loss/train")
    play(trial, Script(number=2, first=31, until=60))
    collect(trial, 2, 33, launch=False, after=after)
    project(run, trial)
    assert steps(run, "acc") == [33]
    assert read_back(run).Tensors("sweep")
    assert [step for step in before if step < 31] == [step for step in steps(run, "loss/train") if step < 31]


def test_the_curves_of_a_derived_trial_begin_where_its_parent_was_left(run: SweepDir) -> None:
    play(make_trial(run, 0), Script(until=60))
    derived = Derivation(parent=0, step=29, checkpoint="step-000000029.3fa94c01d2e7b655.pt", changes={"lr": 0.5})
    child = make_trial(run, 1, derived=derived, configuration=-1)
    play(child, Script(first=30, until=60))
    project(run, child)
    assert folder(run).name.endswith("_from=0000+29")
    found = steps(run, "loss/train")
    assert found == [39, 49, 59]  # the script logs every tenth step
    assert "derived from trial 0000, after step 29, with lr=0.5" in text(run, "trial")
