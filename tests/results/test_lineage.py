"""A derived trial is shown with its parent and the step, and is mixed with no other configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sweeper.config import SweepSpec
from sweeper.record.derivation import REPAIR, Derivation
from sweeper.record.events import Event, Exit, Finished, Launched, Metrics, Resumed, Started
from sweeper.record.trial import TrialRecord
from sweeper.results.comparison.configurations import configuration_name, configuration_results
from sweeper.results.comparison.sweeps import Side, comparison_text, pairs_of
from sweeper.results.export import export_of
from sweeper.results.lineage import ancestors_of, children_of, derivation_text, lineage_lines, not_restored_text
from sweeper.results.ranking import end_text, ranking_text
from sweeper.results.snapshot import SweepView, params_of
from sweeper.results.status import to_json
from sweeper.views.report.page import ReportContext, report
from sweeper.views.report.trial_curves import curves_of_trial, joined
from sweeper.views.tensorboard.markdown import trial_text
from sweeper.views.terminal.table import trial_table
from tests.record.trials import entries_of, trial_of

FILE = "step-000000009.3fa94c01d2e7b655.pt"
FROM_0 = Derivation(parent=0, step=9, checkpoint=FILE, changes={"lr": 0.1}, lr_factor=0.5, by="me on host")


def trial(
    number: int,
    values: Sequence[float] = (0.5,),
    *,
    derived: Derivation | None = None,
    seed: int = 0,
    lr: float = 0.2,
    first: int = 0,
    resumed: bool = True,
) -> TrialRecord:
    """A complete trial with a value at each step from `first` on."""
    history: list[Event] = [Started(pid=1, host="h", attempt=1)]
    if derived is not None and resumed:
        history.append(Resumed(step=derived.step))
    history += [Metrics(step=step, values={"m": value}) for step, value in enumerate(values, first)]
    history.append(Finished(outcome="completed"))
    exit_ = Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)
    made = trial_of([Launched(attempt=1, slot="cpu 0")], history, [exit_], number=number)
    configuration = number if derived is None else -number
    facts = replace(made.facts, number=number, configuration=configuration, seed=seed, seeds=2, derived=derived)
    return replace(made, facts=replace(facts, params={"lr": lr}, shown={"lr": lr}))


def view(*trials: TrialRecord) -> SweepView:
    return SweepView(name="s", state="COMPLETE", trials=trials, total=len(trials), slots=(), now=1.0, started=0.0)


PARENT = trial(0, [0.1] * 20)
CHILD = trial(3, [0.9] * 10, derived=FROM_0, lr=0.1, first=10)


def test_parameters_end_with_the_parent_only_where_there_is_one() -> None:
    assert params_of(PARENT) == "lr=0.2"
    assert params_of(CHILD) == "lr=0.1, from=0000+9"


def test_ranking_and_table_name_the_parent_only_if_a_trial_is_derived() -> None:
    assert "from=0000+9" in ranking_text(view(PARENT, CHILD))
    assert "from" not in ranking_text(view(PARENT))
    heads = [str(column.header) for column in trial_table([PARENT, CHILD], "m", 200).columns]
    assert "from" in heads
    assert "from" not in [str(column.header) for column in trial_table([PARENT], "m", 200).columns]
    assert "of 0003 (lr=0.1, from=0000+9)" in end_text("complete", [PARENT, CHILD])


def test_over_seeds_a_derived_trial_is_a_configuration_of_its_own() -> None:
    trials = [PARENT, replace(trial(1, [0.2], seed=1), facts=replace(trial(1, seed=1).facts, configuration=0)), CHILD]
    found = configuration_results(trials)
    assert [[one.facts.number for one in result.trials] for result in found] == [[3], [0, 1]]
    text = ranking_text(view(*trials))
    assert "from=0000+9" in text
    assert "-3" not in text


def test_no_negative_number_is_shown_where_nothing_varies() -> None:
    plain = replace(CHILD, facts=replace(CHILD.facts, shown={}))
    (result,) = configuration_results([plain])
    assert configuration_name(result) == "from=0000+9"
    assert "-3" not in trial_text(plain, {})


def test_tensorboard_names_parent_step_and_changes() -> None:
    text = trial_text(CHILD, {})
    assert "derived from trial 0000 by me on host, after step 9, with lr=0.1" in text
    assert "configuration" not in text
    assert "configuration" in trial_text(PARENT, {})


def test_the_table_for_other_programs_has_the_parent_only_if_there_is_one() -> None:
    export = export_of(view(PARENT, CHILD))
    rows = [dict(zip(export.columns, row, strict=True)) for row in export.rows]
    assert [(row["parent"], row["parent_step"], row["derived_by"]) for row in rows] == [
        (None, None, None),
        (0, 9, "me on host"),
    ]
    assert [row["configuration"] for row in rows] == [0, None]
    assert "parent" not in export_of(view(PARENT)).columns


def test_the_json_has_the_derivation() -> None:
    status: dict[str, Any] = dict(to_json(view(PARENT, CHILD)))
    assert status["trials"][0]["derived"] is None
    found = status["trials"][1]["derived"]
    assert (found["parent"], found["step"], found["by"]) == (0, 9, "me on host")


def test_pairs_of_two_sweeps_leave_derived_trials_out() -> None:
    spec = SweepSpec.from_json(
        {"name": "s", "method": "grid", "metric": {"name": "m"}, "command": ["a"], "parameters": {"lr": {"value": 1}}}
    )
    child = replace(CHILD, facts=replace(CHILD.facts, params={"lr": 0.2}, shown={"lr": 0.2}))  # as its parent
    one = Side(letter="A", path="a", sweep=view(PARENT, child), spec=spec)
    other = Side(letter="B", path="b", sweep=view(PARENT), spec=spec)
    pairs, only_first, only_second = pairs_of(one, other)
    assert [pair.first.trials[0].facts.number for pair in pairs] == [0]
    assert (only_first, only_second) == ([], [])
    text = comparison_text([one, other])
    assert text.count("derived from others") == 1
    assert "from=0000+9" in text  # it is the best of A


def test_the_receipts_of_parent_and_child_name_each_other() -> None:
    (line,) = lineage_lines(CHILD, [PARENT])
    assert line == "It is derived from trial 0000 by me on host, after step 9, with lr=0.1 (it was 0.2)."
    (line,) = lineage_lines(PARENT, [CHILD])
    assert line.startswith("Trial 0003 (COMPLETE) is derived from trial 0000")
    assert lineage_lines(trial(1), [PARENT, CHILD]) == []
    repaired = replace(FROM_0, by=REPAIR, reason="it diverged", fresh_optimizer=True)
    assert derivation_text(repaired) == (
        "a repair of trial 0000, after step 9, with lr=0.1, with a fresh optimizer state: it diverged"
    )


def test_ancestors_are_followed_also_in_a_circle_and_over_gaps() -> None:
    def of(parent: int) -> Derivation:
        return replace(FROM_0, parent=parent)

    chain = {0: PARENT, 3: CHILD, 5: trial(5, derived=of(3)), 6: trial(6, derived=of(99))}
    assert [one.facts.number for one in ancestors_of(chain[5], chain)] == [3, 0]
    assert ancestors_of(chain[6], chain) == []
    assert [one.facts.number for one in children_of(CHILD, chain.values())] == [5]
    circle = {1: trial(1, derived=of(2)), 2: trial(2, derived=of(1))}
    assert [one.facts.number for one in ancestors_of(circle[1], circle)] == [2]
    elsewhere = trial(0, derived=replace(FROM_0, run="other"))
    assert ancestors_of(elsewhere, {0: elsewhere}) == []
    assert children_of(PARENT, [elsewhere]) == []
    assert "derived from trial 0000 of other by me" in lineage_lines(elsewhere, [PARENT])[0]


def test_a_script_that_restored_nothing_is_named() -> None:
    without = trial(3, [0.9] * 10, derived=FROM_0, resumed=False)
    assert not_restored_text(without).startswith("Trial 0003 began at the start: its script did not restore")
    assert any("began at the start" in line for line in lineage_lines(without, [PARENT]))
    assert not_restored_text(CHILD) == ""
    by_itself = trial(3, [0.9] * 10, derived=FROM_0, first=10, resumed=False)  # a plain script, which has no `restore`
    assert not_restored_text(by_itself) == ""
    nothing_yet = trial(3, [], derived=FROM_0, resumed=False)
    assert not_restored_text(nothing_yet) == ""
    evaluated = trial(3, [0.9], derived=FROM_0, first=9)  # an evaluation before the first step
    assert not_restored_text(evaluated) == ""
    assert not_restored_text(trial(3, derived=Derivation(parent=0))) == ""
    assert not_restored_text(PARENT) == ""


def test_curves_begin_where_those_of_the_parent_were_left() -> None:
    def curves(one: TrialRecord, first: int, count: int) -> list[Event]:
        return [Metrics(step=step, values={"m": float(step)}) for step in range(first, first + count)]

    both = [
        curves_of_trial(PARENT, entries_of(curves(PARENT, 0, 20))),
        curves_of_trial(CHILD, entries_of(curves(CHILD, 12, 3))),
    ]
    parent, child = joined(both)
    assert parent.values == both[0].values
    assert [step for step, _ in child.values] == [9, 12, 13, 14]
    assert [step for step, _ in joined(both[1:])[0].values] == [12, 13, 14]


def test_the_report_lists_derived_trials() -> None:
    page, summary = report(view(PARENT, CHILD), {}, ReportContext())
    assert "0003 (complete) is derived from trial 0000 by me on host, after step 9, with lr=0.1 (it was 0.2)." in page
    assert '"parent": 0' in summary
    assert "Derived trials" not in report(view(PARENT), {}, ReportContext())[0]
