"""The depth profile over time: which observations it is drawn from, which layers, and that any record can be drawn."""

from __future__ import annotations

import gc
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from sweeper.record.decision import Decision
from sweeper.record.events import Launched, Observation, StopRequested, Watching
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import AttemptDir, SweepDir
from sweeper.record.trial import TrialRecord
from sweeper.record.values.depth_profile import STATISTICS, depth_profile
from sweeper.rules.diagnoses import DIAGNOSES
from sweeper.views.figures.depth_map import SIZE
from sweeper.views.figures.history import MOST_COLUMNS, DepthHistory, RecordedObservation
from sweeper.views.figures.stop_mark import LONGEST_RULE, StopMark
from sweeper.views.figures.tensor_names import left_out, spread, tensor_order
from sweeper.views.figures.trial_figures import TrialFigures
from sweeper.views.tensorboard.curves import log_buckets
from tests.views.synthetic import DECISION, Script, facts, make_trial, play, row_of, watching

SEEN = watching(1)
NOWHERE = AttemptDir(Path("nowhere/1"))


def observed(
    step: int, seen: Watching = SEEN, attempt: AttemptDir = NOWHERE, row: int = 0, reach: float = 0.5
) -> RecordedObservation:
    return RecordedObservation(
        Observation(step=step, row=row, reach=reach, update_ratio=0.1, learning_rate=1e-3), seen, attempt
    )


def history_of(steps: range | list[int]) -> DepthHistory:
    history = DepthHistory()
    for step in steps:
        history.add(observed(step))
    return history


def steps_of(history: DepthHistory) -> list[int]:
    return [kept.observation.step for kept in history.observations()]


@pytest.mark.parametrize(("count", "most"), [(1, 2), (12, 75), (75, 75), (76, 75), (300, 75), (300, 2), (7, 5)])
def test_layers_are_spread_evenly_from_the_first_to_the_last(count: int, most: int) -> None:
    kept = spread(count, most)
    assert len(kept) == len(set(kept)) == min(count, most)
    assert (kept[0], kept[-1]) == (0, count - 1)
    gaps = np.diff(kept)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1
    assert left_out(count, most) == ("" if count <= most else f"{most} of {count} layers shown")


def test_tensors_go_with_their_layers_and_keep_the_names_they_have_among_all() -> None:
    seen = watching(12)
    every, some = tensor_order(seen, 75), tensor_order(seen, 10)
    named = dict(zip(every.order, every.names, strict=True))
    assert [named[index] for index in some.order] == list(some.names)
    assert {seen.layer_of[index] for index in some.order} - {-1} == set(spread(74, 10))
    assert some.names[0] == "emb.word_embeddings"  # what stands before the first layer stays with it
    assert (every.left_out, some.left_out) == ("", "10 of 74 layers shown")


def test_a_short_history_is_shown_whole() -> None:
    history = history_of(range(0, 2000, 10))
    assert steps_of(history) == list(range(0, 2000, 10))
    assert not history.thinned


def test_a_long_history_is_the_first_observation_of_each_bin_and_the_newest() -> None:
    history = history_of(range(0, 100_001, 10))
    assert history.thinned
    assert 100_000 / MOST_COLUMNS <= history.width < 2 * 100_000 / MOST_COLUMNS
    first = {step // history.width: step for step in range(100_000, -1, -10)}
    assert steps_of(history) == sorted({*first.values(), 100_000})
    assert len(history.observations()) <= MOST_COLUMNS + 1


def test_other_layers_begin_a_new_history() -> None:
    history = history_of(range(0, 3000, 10))
    history.add(observed(3000, watching(2)))
    assert steps_of(history) == [3000]


def recorded(tmp_path: Path, seen: Watching) -> AttemptDir:
    attempt = AttemptDir(tmp_path / "1")
    attempt.path.mkdir()
    attempt.layers.write_bytes(b"".join(row_of(seen, step, stalled=True).tobytes() for step in (0, 300)))
    return attempt


@pytest.mark.parametrize("statistics", [STATISTICS, ("grad_norm",)])
def test_profile_is_read_from_the_row_whatever_is_watched(tmp_path: Path, statistics: tuple[str, ...]) -> None:
    seen = watching(3, statistics=statistics)
    attempt = recorded(tmp_path, seen)
    row = row_of(seen, 300, stalled=True)
    norms = row[statistics.index("grad_norm") :: len(statistics)]
    profile = observed(300, seen, attempt, row=1).profile
    assert profile is not None
    assert profile.tolist() == pytest.approx(depth_profile(norms, seen.sizes, seen.layer_of, len(seen.layers)))


def test_a_late_row_is_read_again(tmp_path: Path) -> None:
    seen = watching(3)
    attempt = recorded(tmp_path, seen)
    late = observed(600, seen, attempt, row=2)
    assert late.profile is None
    with attempt.layers.open("ab") as file:
        file.write(row_of(seen, 600, stalled=True).tobytes())
    assert late.profile is not None


def trial_with(decision: Mapping[str, object] | None) -> TrialRecord:
    stop = StopRequested(attempt=1, cause="pruned", decision=None if decision is None else Decision.read(decision))
    trial = TrialRecord(directory=SweepDir(Path("r")).trial(0), facts=facts())
    return trial.after([Launched(attempt=1, slot="cpu:0"), stop])


def test_the_stop_mark_is_read_from_the_record(tmp_path: Path) -> None:
    trial = make_trial(SweepDir(tmp_path))
    play(trial, Script(until=131, stalled=True, outcome="stopped", decision=DECISION))
    mark = StopMark.of(read_trial(trial))
    assert mark is not None
    assert (mark.step, mark.rule, mark.threshold) == (130, "stalled", 0.03)
    assert [step for step, _ in mark.window] == [90, 100, 110, 120, 130]
    assert math.isnan(mark.window[2][1])  # written as text: JSON has no word for it


ODD: list[Mapping[str, object]] = [
    {"step": 5},
    {"step": 5, "rule": "a$_{" * 40, "evidence": {"statistic": "reach", "threshold": "x", "window": [[1], "ab", 3]}},
    {"step": 5, "rule": "loss", "evidence": {"statistic": "loss", "threshold": 3.0, "window": [[1, 2.0]]}},
    {"step": 5, "rule": "r", "evidence": {"statistic": "reach", "threshold": "inf", "window": [[1, 0], [2, "nan"]]}},
]


@pytest.mark.parametrize("decision", ODD)
def test_a_decision_of_another_rule_is_marked_as_far_as_it_is_understood(
    tmp_path: Path, decision: Mapping[str, object]
) -> None:
    mark = StopMark.of(trial_with(decision))
    assert mark is not None
    assert mark.step == 5
    assert not math.isfinite(mark.threshold)
    assert drawn(tmp_path, watching(1), mark=mark).size == SIZE


@pytest.mark.parametrize("decision", [None, {}, {"step": "5"}, {"rule": "r"}])
def test_without_a_decision_there_is_no_stop_mark(decision: Mapping[str, object] | None) -> None:
    assert StopMark.of(trial_with(decision)) is None


def drawn(
    tmp_path: Path, seen: Watching, *, observations: int = 2, mark: StopMark | None = None, **given: Any
) -> Image.Image:
    attempt, history = recorded(tmp_path, seen), DepthHistory()
    for index in range(observations):
        history.add(observed(300 * index, seen, attempt, row=index, **given))
    return Image.open(io.BytesIO(TrialFigures(10).draw_history(seen, history, mark)["depth profile"]))


@pytest.mark.parametrize("layers", [0, 2, 13])
@pytest.mark.parametrize("observations", [1, 2, 3])
def test_picture_has_its_size_at_any_depth_and_with_rows_that_are_missing(
    tmp_path: Path, layers: int, observations: int
) -> None:
    assert drawn(tmp_path, watching(layers), observations=observations).size == SIZE


@pytest.mark.parametrize("reach", [0.0, math.nan, math.inf, 1e-30])
def test_any_reach_can_be_drawn(tmp_path: Path, reach: float) -> None:
    assert drawn(tmp_path, watching(1), reach=reach).size == SIZE


def test_undefined_zero_and_small_gradients_look_different(tmp_path: Path) -> None:
    """A layer's row of pixels: hatched, the colour below the scale, a colour of the scale."""
    names = ("a", "b", "c")
    seen = Watching(
        layers=names, tensors=names, sizes=(1,) * 3, layer_of=(0, 1, 2), statistics=("grad_norm",), every=10
    )
    attempt, history = AttemptDir(tmp_path / "1"), DepthHistory()
    attempt.path.mkdir()
    attempt.layers.write_bytes(np.array([math.nan, 0.0, 1e-9], "<f4").tobytes())
    history.add(observed(0, seen, attempt))
    png = TrialFigures().draw_history(seen, history, None)["depth profile"]
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
    undefined, zero, small = (pixels[150:160, 300:400], pixels[310:320, 300:400], pixels[480:490, 300:400])
    assert len(np.unique(undefined.reshape(-1, 3), axis=0)) > 1
    assert (zero == 0).all()
    assert len(np.unique(small.reshape(-1, 3), axis=0)) == 1
    assert small.max() > 40


def test_the_legend_has_room_for_the_longest_name_of_a_rule(tmp_path: Path) -> None:
    mark = StopMark(step=20, rule=max(DIAGNOSES, key=len), threshold=0.005, window=((10, 0.1),))
    pixels = np.asarray(drawn(tmp_path, watching(3), mark=mark).convert("L"), dtype=int)
    assert (pixels[:, -3:] == pixels[0, -1]).all()  # nothing is cut at the edge
    assert len(mark.rule) <= LONGEST_RULE


def test_frames_of_the_profile_leave_nothing_behind(tmp_path: Path) -> None:
    seen, figures = watching(1), TrialFigures()
    attempt, short, long = recorded(tmp_path, seen), DepthHistory(), DepthHistory()
    for history, steps in ((short, (0, 10)), (long, (0, 10, 5000))):
        for step in steps:
            history.add(observed(step, seen, attempt, row=step % 2))
    before = figures.draw_history(seen, short, None)
    mark = StopMark(step=20, rule="stalled", threshold=0.01, window=((10, 0.1),))
    assert figures.draw_history(seen, long, mark) != before
    assert figures.draw_history(seen, short, None) == before


def test_counts_of_the_histogram_sum_to_the_ratios_that_are_defined() -> None:
    ratios = np.array([0.0, 1e-12, 1e-3, 1e-3, 0.5, 1e9, math.inf, math.nan])
    buckets = log_buckets(ratios)
    assert buckets[:, 2].sum() == 7
    assert (buckets[0, 0], buckets[-1, 1]) == (-8, 1)
    assert (buckets[0, 2], buckets[-1, 2]) == (2, 2)
    (middle,) = buckets[buckets[:, 2] == 2][1:-1]
    assert middle[0] <= -3 <= middle[1]
    assert np.allclose(buckets[1:, 0], buckets[:-1, 1])


def test_nothing_defined_is_no_histogram() -> None:
    assert len(log_buckets(np.array([math.nan]))) == 0


def test_frames_leave_nothing_in_memory_either(tmp_path: Path) -> None:
    seen, figures, history = watching(1), TrialFigures(), DepthHistory()
    history.add(observed(0, seen, recorded(tmp_path, seen)))
    mark = StopMark(step=0, rule="stalled", threshold=0.01, window=((0, 0.1),))

    def lines() -> int:
        figures.draw_history(seen, history, mark)
        gc.collect()
        return sum(type(thing) is Line2D for thing in gc.get_objects())  # isinstance would ask proxies for their class

    before = lines()
    assert lines() == lines() == before
