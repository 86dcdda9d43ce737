"""`sweeper report`: one page that needs nothing else, and shows text as text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from sweeper.cli import main
from sweeper.config import SweepSpec
from sweeper.record.decision import Decision
from sweeper.record.events import AUDITED, Continued
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.views.report.axes import ParameterAxis, TimeAxis
from sweeper.views.report.drawings import spread
from tests.views.synthetic import DECISION, Script, began, diagnose, make_trial, over, play

HOSTILE = "<script>alert(1)</script>\x1b[31m$x_1^2$"


def spec(**changes: object) -> SweepSpec:
    return SweepSpec.from_json(
        {
            "name": "s",
            "method": "grid",
            "program": "train.py",
            "metric": {"name": "accuracy/test", "goal": "maximize"},
            "parameters": {"lr": {"values": [3e-4, 6e-4]}, "warmup_fraction": {"values": [0.1, 0.7]}},
            "early_stop": {},
            **changes,
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    directory = SweepDir(tmp_path / "runs" / "s")
    directory.path.mkdir(parents=True)
    origin = {"commit": "abc123", "difference": "+token=hunter2hunter2", "packages": {"torch": "2.13"}}
    write_json(directory.spec, {"format": 1, "name": "s", "spec": spec().to_json(), "provenance": origin})
    directory.sweep_yaml.write_text(f"name: s  # {HOSTILE}\n")
    for number, (lr, warmup) in enumerate((lr, w) for lr in (3e-4, 6e-4) for w in (0.1, 0.7)):
        params = {"lr": lr, "warmup_fraction": warmup}
        trial = make_trial(directory, number, params=params, shown=params)
        stalled = number == 2
        script = Script(until=131, stalled=True, outcome="stopped", decision=DECISION) if stalled else Script()
        play(trial, script)
    make_trial(directory, 4)
    return directory


def page_of(run: SweepDir) -> str:
    assert main(["report", str(run.path)]) == 0
    return (run.report / "report.html").read_text()


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_page_says_which_trial_is_best_and_why_a_trial_was_stopped(run: SweepDir) -> None:
    text = " ".join(read(page_of(run)).text.split())
    assert "The best accuracy/test is 0.7992 at step 639, of trial 0000 (lr=3e-4, warmup_fraction=0.1)." in text
    reason = str(DECISION["reason"]).removesuffix(".")
    assert f"pruned by stalled at step 130: {reason}; 509 steps saved" in text
    assert "5 trials: 3 complete, 1 stopped early, 1 waiting" in text
    assert "stopping 1 of 5 trials early saved 509 steps" in text
    assert "commit abc123" in text


def test_the_page_needs_nothing_but_itself(run: SweepDir) -> None:
    page = page_of(run)
    tags = read(page).tags
    assert not [attrs for tag, attrs in tags if tag in ("script", "link", "iframe", "object")]
    links = [value for _, attrs in tags for key, value in attrs.items() if key in ("src", "href", "xlink:href")]
    assert all(link is not None and link.startswith(("data:image/png", "#")) for link in links)
    assert not re.search(r"url\((?!#)", page)
    assert sum(tag == "svg" for tag, _ in tags) == 6
    assert sum(tag == "img" for tag, _ in tags) == 4


def test_the_same_record_makes_the_same_page(run: SweepDir) -> None:
    assert page_of(run) == page_of(run)


def test_text_from_users_is_shown_as_text(run: SweepDir) -> None:
    params = {"lr": HOSTILE, "warmup_fraction": 0.1}
    play(make_trial(run, 5, params=params, shown=params), Script(until=200))
    page = page_of(run)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "alert(1)" in read(page).text
    assert "hunter2" not in page


def test_the_summary_has_the_verdict_beside_the_trials(run: SweepDir) -> None:
    page_of(run)
    summary = json.loads((run.report / "summary.json").read_bytes())
    assert summary["verdict"].startswith("The best accuracy/test is 0.7992")
    assert [trial["state"] for trial in summary["trials"]] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "WAITING"]


def test_a_sweep_without_records_has_a_page(tmp_path: Path) -> None:
    run = SweepDir(tmp_path / "runs" / "s")
    run.path.mkdir(parents=True)
    write_json(run.spec, {"format": 1, "name": "s", "spec": spec().to_json()})
    assert "No trial has a value yet." in page_of(run)


def test_repeats_are_shown_by_configuration_with_intervals(run: SweepDir) -> None:
    for number, seed in ((5, 1), (6, 2)):
        params = {"lr": 3e-4, "warmup_fraction": 0.1}
        make = make_trial(run, number, configuration=0, seed=seed, params=params, shown=params)
        play(make, Script(until=640 - 128 * seed, total=640))
    page = page_of(run)
    assert "95% interval" in page
    assert "Configurations" in page
    # The configurations with one seed come first; the one with three seeds has a lower mean.
    assert "The best mean accuracy/test is 0.7992 over 1 seed, of lr=3e-4, warmup_fraction=0.7." in page
    assert "they share 1 seed, and a confidence interval needs 2" in page
    for number, seed in ((7, 1), (8, 2)):
        params = {"lr": 3e-4, "warmup_fraction": 0.7}
        play(make_trial(run, number, configuration=1, seed=seed, params=params, shown=params), Script())
    assert "The best mean accuracy/test is 0.7992 [0.7992, 0.7992] over 3 seeds, of lr=3e-4" in page_of(run)


def test_if_only_reach_was_recorded_there_is_no_depth_map(run: SweepDir) -> None:
    for trial in run.trials():
        for attempt in trial.attempts():
            attempt.layers.unlink()
    assert "Gradient of each layer" not in page_of(run)


def test_a_timeline_leaves_out_idle_time() -> None:
    clock = TimeAxis.of([(100.0, 200.0), (150.0, 300.0), (305.0, 400.0), (10_000.0, 10_100.0)])
    busy = 100 + 150 + 95 + 100
    cut = 0.1 * busy * 0.2
    assert [clock.at(time) for time in (100.0, 150.0, 305.0)] == [0.0, 50.0, 205.0]
    assert clock.cuts == pytest.approx([300.0 + cut])
    assert clock.at(10_050.0) == pytest.approx(350.0 + cut)
    assert clock.total == pytest.approx(400.0 + cut)


def test_it_says_how_to_reproduce_the_best_trial(run: SweepDir) -> None:
    assert f"sweeper reproduce {run.path} 0 --run" in read(page_of(run)).text


def test_the_page_has_the_health_of_each_trial_and_the_timelines(run: SweepDir) -> None:
    diagnose(run.trial(2), began("vanishing_gradient", 100, 120, reason=f"gone {HOSTILE}"))
    diagnose(run.trial(0), began("oscillating", 20, 40), over("oscillating", 20, 90))
    page = page_of(run)
    text = " ".join(read(page).text.split())
    assert "health: 2 ok, 1 vanishing_gradient, 1 oscillating, 1 unknown" in text
    assert '<td class="l health stops">vanishing since 100</td>' in page
    assert "since 100, found at 120: vanishing_gradient: gone <script>alert(1)</script>?[31m$x_1^2$" in text
    assert "advice: lower the peak learning rate" in text
    assert "siblings at or below 3e-4 learned" in text
    assert "at 90: oscillating no longer holds" in text
    assert "<script" not in page
    summary = json.loads((run.report / "summary.json").read_bytes())
    assert [trial["healthy"] for trial in summary["trials"]] == [True, True, False, True, True]


def test_without_a_diagnosis_there_is_no_section_on_health(run: SweepDir) -> None:
    assert "<h2>Health" not in page_of(run)


def many(run: SweepDir, *, pruned: int, audited: int = 0) -> None:
    """Add trials, of which some are pruned, and some are flagged but continued for the audit."""
    for number in range(5, 5 + pruned + audited):
        params = {"lr": 3e-4, "warmup_fraction": number / 100}
        trial = make_trial(run, number, params=params, shown=params)
        if number < 5 + pruned:
            play(trial, Script(until=131 + number, stalled=True, outcome="stopped", decision=DECISION))
        else:
            play(trial, Script(stalled=True))
            with JournalWriter(trial.control) as control:
                control.append(Continued(attempt=1, cause=AUDITED, decision=Decision.read(DECISION)))


def test_continued_trials_are_listed_and_do_not_count_as_saved(run: SweepDir) -> None:
    many(run, pruned=0, audited=2)
    text = " ".join(read(page_of(run)).text.split())
    assert "stopping 1 of 7 trials early saved 509 steps" in text
    assert "2 flagged trials were continued for the audit and took 1018 more steps" in text
    assert "flagged by stalled at step 130, but continued for 509 more steps (audit): " in text
    assert "complete after 640 steps: best accuracy/test 0.291" in text


def test_many_endings_are_summarised_by_rule_and_listed_on_request(run: SweepDir) -> None:
    many(run, pruned=20, audited=1)
    play(make_trial(run, 40), Script(until=20, outcome="failed", exit_code=1))
    reader = read(page_of(run))
    text = " ".join(reader.text.split())
    assert "stalled stopped 21 trials at steps 130 to 150 (median 140): 10,471 steps saved" in text
    assert "1 flagged trial was continued, 1 of them for the audit" in text
    assert "1 trial failed: error (1)" in text
    assert "All 23 trials" in text
    assert "All 27 trials" in text
    assert "The best trials" in text


def test_of_many_curves_the_best_and_evenly_spread_others_are_drawn() -> None:
    items = list(range(100))
    assert spread(items, 100) == items
    assert spread(items, 10) == [0, 1, 2, 3, 4, 5, 28, 52, 75, 99]


def test_depth_maps_alternate_between_pruned_and_other_trials(run: SweepDir) -> None:
    titles = re.findall(r"<figcaption>(\d{4}) [^<]*, ([\w ]+)</figcaption>", page_of(run))
    assert titles == [("0002", "stopped early"), ("0000", "complete"), ("0001", "complete"), ("0003", "complete")]


def test_of_many_names_some_are_labels_of_the_axis() -> None:
    axes = Figure().subplots()
    ParameterAxis.of([f"name {number}" for number in range(20)]).scale(axes)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["name 0", "name 12", "name 16", "name 2", "name 6"]


@pytest.mark.parametrize(("loss", "cut"), [(1.4e20, True), (1.4, False)])
def test_a_diverging_trial_does_not_hide_the_others(run: SweepDir, loss: float, *, cut: bool) -> None:
    diverging = make_trial(run, 5, params={"lr": 1.0}, shown={"lr": 1.0})
    play(diverging, Script(loss=loss))
    page = page_of(run)
    assert ("are cut off" in page) is cut
    chart = page[page.index("Training loss") : page.index("Reach")]
    assert "0005" in chart
    powers = ["".join(re.findall(r">(.)</tspan>", tick)) for tick in re.findall(r"<text>.*?</text>", chart, re.DOTALL)]
    assert not {"1015", "1016", "1020"} & set(powers)  # the axis has no power of ten that only this trial reached
