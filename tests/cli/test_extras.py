"""Without an optional library: one line that says what to install, and no traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.config import load
from sweeper.errors import DataUnavailable, ExtraMissing
from sweeper.search.importance import importance
from sweeper.search.study import StudyTrial
from sweeper.trainers.data import newsgroups
from sweeper.trainers.data.network import TotalTimeout


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(folder: Path, method: str, more: str = "") -> str:
    path = folder / "sweep.yaml"
    path.write_text(
        f"name: s\ncommand: ['true']\nmethod: {method}\nrun_cap: 2\nmetric: {{name: loss, goal: minimize}}\n"
        f"parameters: {{lr: {{min: 0.0, max: 1.0}}}}\n{more}"
    )
    return str(path)


@pytest.mark.parametrize(
    ("keys", "library", "what"),
    [
        (("cmaes", ""), "cmaes", "method: cmaes"),
        (("gp", ""), "scipy", "method: gp"),
        (("qmc", ""), "scipy", "method: qmc"),
        (("random", "early_stop: {rules: [{wilcoxon: {}}]}\n"), "scipy", "the pruner wilcoxon"),
        (
            ("random", "early_stop: {rules: [{patient: {wrapped: {wilcoxon: {}}}}]}\n"),
            "scipy",
            "the pruner wilcoxon",
        ),
    ],
)
def test_a_sweep_that_needs_a_missing_library_is_refused_before_it_begins(
    keys: tuple[str, str],
    library: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["run", sweep(Path.cwd(), *keys)]) == 2
    expected = f'{what} needs {library}, which is not installed. Run: pip install "sweeper[search]"'
    assert " ".join(capsys.readouterr().err.split()) == expected
    assert not Path("runs").exists()


def test_twenty_newsgroups_without_scikit_learn_give_way_to_the_next_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataUnavailable, match=r'not installed: pip install "sweeper\[text\]"'):
        newsgroups.locate(TotalTimeout())


def test_completion_without_argcomplete_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete.shell_integration", None)
    assert main(["completion", "bash"]) == 2
    assert 'pip install "sweeper[completion]"' in capsys.readouterr().err


def test_the_importance_of_parameters_says_which_extra_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load(sweep(tmp_path, "random"), has_cuda=False, trainers={})
    points = [n / 10 for n in range(5)]
    entries = [
        StudyTrial(params={"lr": lr}, state="COMPLETE", value=lr * lr, values={0: lr}, began=0.0, ended=1.0)
        for lr in points
    ]
    assert importance(spec, entries) == {"lr": 1.0}
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ExtraMissing, match=r'needs scikit-learn.*"sweeper\[search\]"'):
        importance(spec, entries)
