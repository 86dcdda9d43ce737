"""What scripts hand to the trial API as numbers and steps: all of it is recorded, or refused at the call."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sweeper
from sweeper.errors import UsageError
from sweeper.record.events import Metrics, Noted, Plan
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import TrialDir, write_json
from sweeper.worker.function import report_returned
from sweeper.worker.scalars import number_of


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialDir:
    trial = TrialDir(tmp_path / "run" / "0000")
    for number in (1, 2):
        trial.attempt(number).path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": 7, "params": {"lr": 0.5}, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "acc", "maximize": True, "checkpoint_every_s": 3600.0})
    monkeypatch.setenv("SWEEPER_TRIAL_DIR", str(trial.path))
    monkeypatch.setenv("SWEEPER_ATTEMPT", "1")
    return trial


def events(directory: TrialDir, kind: type) -> list[Any]:
    assert not read_trial(directory).damaged, "each line of the record can be read"
    return [event for event in read_journal(directory.attempt(1).events) if isinstance(event, kind)]


class Meter:
    """A running mean, as in many scripts."""

    def __float__(self) -> float:
        return 0.25


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((np.mean([1.0, 2.0]), 1.5), (np.float32(0.5), 0.5), (np.float16(0.5), 0.5), (np.int64(3), 3.0)),
        *((np.uint8(3), 3.0), (np.longdouble(0.5), 0.5), (np.array(2.5), 2.5), (np.array([4]), 4.0)),
        *((np.bool_(1), 1.0), (np.array(1, bool), 1.0), (True, 1.0), (False, 0.0), (2, 2.0), (Meter(), 0.25)),
        *((Decimal("0.1"), 0.1), (Fraction(1, 4), 0.25), (np.array(Fraction(1, 4)), 0.25)),
        *(
            (torch.tensor(2.5, requires_grad=True), 2.5),
            (torch.tensor([3]), 3.0),
            (torch.ones((), dtype=torch.bool), 1.0),
        ),
        *((torch.tensor(0.5, dtype=torch.bfloat16), 0.5), (torch.nn.Parameter(torch.tensor(0.5)), 0.5)),
        *((math.inf, math.inf), (np.float32("-inf"), -math.inf), (Decimal("inf"), math.inf)),
    ],
)
def test_each_kind_of_number_is_recorded(directory: TrialDir, value: Any, expected: float) -> None:
    with sweeper.trial() as trial:
        trial.report({"loss": value}, step=0)
    (metrics,) = events(directory, Metrics)
    assert metrics.values == {"loss": expected}


@pytest.mark.parametrize(
    "nan", [math.nan, np.float32("nan"), np.array(np.nan), torch.tensor(math.nan), Decimal("nan"), np.ma.masked]
)
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element")
def test_nan_is_a_value(directory: TrialDir, nan: Any) -> None:
    with sweeper.trial() as trial:
        trial.report({"loss": nan}, step=0)
    (metrics,) = events(directory, Metrics)
    assert math.isnan(metrics.values["loss"])


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "None; leave it out if there is no value"),
        ("0.5", "'0.5' (str); convert it by float(...)"),
        (np.str_("0.5"), f"{np.str_('0.5')!r} (str_); convert it by float(...)"),
        ([0.5], "[0.5] (list); report one number of them, such as their mean"),
        (np.ones(3), "values of shape (3,) (ndarray); report one number of them, such as their mean"),
        (torch.ones(2, 2), "values of shape (2, 2) (Tensor); report one number of them, such as their mean"),
        ({"loss": 0.5}, "{'loss': 0.5} (dict); join the names, as in train/loss"),
        (1j, "1j (complex)"),
        (np.complex64(1j), f"{np.complex64(1j)!r} (complex64)"),
        (torch.tensor(1j), "tensor(0.+1.j) (Tensor)"),
        (np.datetime64("2026-01-01"), f"{np.datetime64('2026-01-01')!r} (datetime64)"),
        (np.array("1.5"), "array('1.5', dtype='<U3') (ndarray)"),
        (Decimal("snan"), "Decimal('sNaN') (Decimal)"),
        (torch.empty((), device="meta"), "tensor(..., device='meta', size=()) (Tensor)"),
        ("x" * 1000, f"'{'x' * 59}... (str); convert it by float(...)"),
    ],
)
def test_what_is_no_number_is_refused_at_the_call(directory: TrialDir, value: Any, got: str) -> None:
    with sweeper.trial() as trial:
        with pytest.raises(UsageError) as caught:
            trial.report({"fine": 1, "loss": value}, step=0)
        trial.report({"fine": 2}, step=1)
    assert str(caught.value) == f"report(values={{'loss': ...}}): expected a number, got {got}"
    assert [metrics.values for metrics in events(directory, Metrics)] == [{"fine": 2.0}]


@pytest.mark.usefixtures("directory")
def test_values_are_a_mapping() -> None:
    with (
        sweeper.trial() as trial,
        pytest.raises(UsageError, match=r"report\(values=...\): expected a mapping .*got 0.5"),
    ):
        trial.report(0.5, step=0)  # type: ignore[arg-type]


STEPS = [
    *(
        3,
        np.int64(3),
        np.uint8(3),
        np.array(3),
        np.array([3]),
        3.0,
        np.float32(3),
        torch.tensor(3),
        torch.tensor([3.0]),
    ),
    *(Decimal(3), Fraction(6, 2)),
]
NO_STEPS = [
    0.5,
    -1,
    True,
    np.bool_(1),
    torch.ones((), dtype=torch.bool),
    None,
    "3",
    math.nan,
    math.inf,
    2**63,
    np.ones(2),
    1j,
]


@pytest.mark.parametrize("step", STEPS)
def test_whole_steps_of_any_type_are_taken(directory: TrialDir, step: Any) -> None:
    with sweeper.trial() as trial:
        trial.report({"loss": 1}, step=step)
        trial.save({"w": torch.ones(1)}, step=step)
        trial.next_step = step
        assert (trial.next_step, type(trial.next_step)) == (3, int)
    (metrics,) = events(directory, Metrics)
    assert metrics.step == 3
    with sweeper.trial() as trial:
        assert trial.restore() is not None
        assert trial.next_step == 4


def _set_next_step(trial: sweeper.Trial, step: Any) -> None:
    trial.next_step = step


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("step", NO_STEPS)
@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("report(step=...)", lambda trial, step: trial.report({"loss": 1}, step=step)),
        ("save(step=...)", lambda trial, step: trial.save({}, step=step)),
        ("plan(total_steps=...)", lambda trial, step: trial.plan(total_steps=step)),
        ("trial.next_step = ...", _set_next_step),
    ],
)
def test_other_steps_are_refused_with_the_name_of_the_argument(
    step: Any, place: str, call: Callable[[sweeper.Trial, Any], None]
) -> None:
    with sweeper.trial() as trial, pytest.raises(UsageError) as caught:
        call(trial, step)
    assert str(caught.value).startswith(f"{place}: expected a whole number of 0 or more")


@pytest.mark.parametrize("total", [100, 1000 / 10, np.int64(100), torch.tensor(100)])
def test_a_plan_takes_numbers_of_any_type(directory: TrialDir, total: Any) -> None:
    with sweeper.trial() as trial:
        trial.plan(total_steps=total, peak_lr=np.float32(1), uncorrected=np.array([0.5, 0.25]))
    (plan,) = events(directory, Plan)
    assert (plan.total_steps, plan.peak_lr, plan.uncorrected) == (100, 1.0, (0.5, 0.25))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"peak_lr": "1e-3"}, r"plan\(peak_lr=...\): expected a number, got '1e-3' \(str\)"),
        ({"peak_lr": [0.1]}, r"plan\(peak_lr=...\): expected a number, got \[0.1\]"),
        ({"uncorrected": 0.9}, r"plan\(uncorrected=...\): expected two betas, such as \(0.9, 0.999\), got 0.9"),
        ({"uncorrected": (0.9,)}, r"plan\(uncorrected=...\): expected two betas"),
        ({"uncorrected": (0.9, None)}, r"plan\(uncorrected=...\): expected a number, got None"),
    ],
)
def test_a_wrong_plan_is_refused(directory: TrialDir, arguments: dict[str, Any], message: str) -> None:
    with sweeper.trial() as trial, pytest.raises(UsageError, match=message):
        trial.plan(total_steps=3, **arguments)
    assert not events(directory, Plan)


def test_numbers_of_numpy_in_a_saved_state_come_back(directory: TrialDir) -> None:
    state: dict[Any, Any] = {
        "lr": np.float64(0.5),
        "best": (np.float32(0.25), [Decimal("0.5"), np.bool_(1)]),
        np.int64(3): np.arange(3),
        "generator": np.random.default_rng(3).bit_generator.state,
        "legacy": np.random.RandomState(3).get_state(),
        "model": torch.nn.Linear(1, 1).state_dict(),
    }
    with sweeper.trial() as trial:
        trial.save(state, step=1)
        back: Any = trial.restore()
    assert back is not None, [note.text for note in events(directory, Noted)]
    assert (back["lr"], back["best"], back["generator"]) == (0.5, (0.25, [0.5, True]), state["generator"])
    assert (type(back["lr"]), type(back["best"][1][1])) == (float, bool), "numbers of Python"
    assert back[3].tolist() == [0, 1, 2]
    assert back["legacy"][1].shape == (624,)
    assert back["model"]._metadata == state["model"]._metadata


@pytest.mark.usefixtures("directory")
def test_a_state_is_a_mapping() -> None:
    with sweeper.trial() as trial, pytest.raises(UsageError, match=r"save\(state=...\): expected a mapping"):
        trial.save([1], step=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("returned", [np.mean([1, 2]), np.array(1.5), torch.tensor(1.5), Decimal("1.5"), {"acc": 1.5}])
def test_a_returned_number_of_any_type_is_the_metric(directory: TrialDir, returned: object) -> None:
    with sweeper.trial() as trial:
        report_returned(trial, returned)
    assert [metrics.values for metrics in events(directory, Metrics)] == [{"acc": 1.5}]


@pytest.mark.parametrize("returned", ["0.9", [0.9], {"acc": "0.9", "loss": 1}, np.ones(2)])
def test_a_returned_metric_that_is_no_number_is_an_error(directory: TrialDir, returned: object) -> None:
    with sweeper.trial() as trial, pytest.raises(UsageError, match="the trainer returned acc: expected a number, got"):
        report_returned(trial, returned)
    expected = [{"loss": 1.0}] if isinstance(returned, dict) else []
    assert [metrics.values for metrics in events(directory, Metrics)] == expected


def test_a_returned_model_is_noted_if_the_metric_was_reported(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        trial.report({"acc": 0.5}, step=0)
        report_returned(trial, torch.nn.Linear(1, 1))
    (note,) = events(directory, Noted)
    assert "the trainer returned acc: expected a number, got Linear(" in note.text


def test_numbers_of_other_libraries_are_duck_typed() -> None:
    class Array:
        shape = ()
        dtype = np.dtype("float32")

        def __float__(self) -> float:
            return 0.5

    class Text(Array):
        dtype = np.dtype("U3")

    assert number_of(Array()) == 0.5
    assert number_of(Text()) is None
    assert number_of(10**400) is None, "a float cannot hold it"
