"""The documents of the best trial in TensorBoard's projector: their trial, their source, and that they are served."""

from __future__ import annotations

import array
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import RecordError
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json, write_json
from sweeper.views.tensorboard import projector
from sweeper.views.tensorboard.embeddings import RUN, main, project_embeddings
from sweeper.views.tensorboard.process import project
from sweeper.views.tensorboard.projector import EmbeddingPoints
from tests.views.synthetic import DECISION, Script, make_trial, play
from tests.views.tensorboard.servers import asked, fetched, served_tensorboard, until

FOREIGN = ("python", "train.py")
VECTORS = "0.5\t1\n-2\t3\n4\t5e-1\n"
LINES = "class\ttext\nspace\tone\nspace\ttwo\nmed\tthree\n"


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    run.spec.write_text("{}")
    return run


def trial_of(run: SweepDir, number: int, script: Script, **changes: Any) -> TrialDir:
    """A trial that has run, and offers documents as a script of anybody's may."""
    trial = make_trial(run, number, **{"command": FOREIGN, **changes})
    play(trial, script)
    offer(trial)
    return trial


def offer(trial: TrialDir, vectors: str = VECTORS, lines: str = LINES) -> None:
    trial.embeddings.mkdir(exist_ok=True)
    (trial.embeddings / "vectors.tsv").write_text(vectors, "utf-8")
    (trial.embeddings / "metadata.tsv").write_text(lines, "utf-8")


def shown(run: SweepDir) -> list[str]:
    return sorted(path.parent.name[:4] for path in run.tensorboard.glob(f"*/{RUN}"))


@pytest.mark.slow
def test_tensorboard_serves_the_documents_of_the_best_trial(run: SweepDir) -> None:
    trial_of(run, 0, Script(until=200))
    best = trial_of(run, 1, Script(until=640))
    name = f"0001_lr=6e-4_warmup_fraction=0.1/{RUN}"
    with served_tensorboard(run) as url:
        until(lambda: name in asked(url, "runs"))
        assert asked(url, "plugin/projector/runs") == [name]
        (info,) = asked(url, "plugin/projector/info", run=name)["embeddings"]
        assert (info["tensorName"], info["tensorShape"]) == ("documents", [3, 2])
        served = fetched(url, "plugin/projector/tensor", run=name, name="documents")
        assert list(array.array("f", served)) == [0.5, 1.0, -2.0, 3.0, 4.0, 0.5]
        assert fetched(url, "plugin/projector/metadata", run=name, name="documents").decode() == LINES
        until(lambda: asked(url, "plugins_listing")["projector"]["enabled"])
    assert sorted(path.name for path in best.embeddings.iterdir()) == ["metadata.tsv", "vectors.tsv"]


@pytest.mark.parametrize(
    "other",
    [
        Script(until=640, outcome="", exit_code=None),
        Script(until=640, outcome="failed", exit_code=1),
        Script(until=640, outcome="stopped", decision=DECISION),
    ],
    ids=["runs", "failed", "pruned"],
)
def test_only_a_trial_that_is_complete_can_be_the_best(run: SweepDir, other: Script) -> None:
    trial_of(run, 0, Script(until=200))
    trial_of(run, 1, other)
    project_embeddings(run)
    assert shown(run) == ["0000"]


def test_a_goal_to_minimize_is_kept(run: SweepDir) -> None:
    trial_of(run, 0, Script(until=200), maximize=False)
    trial_of(run, 1, Script(until=640, stalled=True), maximize=False)
    project_embeddings(run)
    assert shown(run) == ["0001"]


def test_a_better_trial_replaces_the_last_one(run: SweepDir) -> None:
    trial_of(run, 0, Script(until=200))
    project_embeddings(run)
    trial_of(run, 1, Script(until=640))
    project_embeddings(run)
    assert shown(run) == ["0001"]


def test_documents_are_written_again_only_if_their_source_changes(run: SweepDir) -> None:
    trial = trial_of(run, 0, Script(until=200))
    folder = project_embeddings(run)
    assert folder is not None
    made = folder.stat().st_ino
    assert project_embeddings(run) == folder
    assert folder.stat().st_ino == made
    offer(trial, lines=LINES.replace("three", "four"))
    os.utime(trial.embeddings / "metadata.tsv", ns=(1, 1))
    project_embeddings(run)
    assert "four" in (folder / "metadata.tsv").read_text("utf-8")


def test_a_trial_without_embeddings_has_no_projection(run: SweepDir) -> None:
    trial_of(run, 0, Script(until=200))
    play(make_trial(run, 1, command=FOREIGN), Script(until=640))
    project_embeddings(run)
    assert shown(run) == []


@pytest.mark.slow
def test_rebuilding_the_run_keeps_its_documents(run: SweepDir) -> None:
    trial_of(run, 0, Script(until=200))
    project(run)
    project_embeddings(run)
    (next(run.tensorboard.iterdir()) / ".position.json").write_text("{}")
    project(run)
    assert shown(run) == ["0000"]


@pytest.mark.parametrize(
    ("vectors", "lines", "said"),
    [
        ("1\t2\n3\n", "a\nb\n", "equally many numbers"),
        ("1\t2\nx\ty\n", "a\nb\n", "equally many numbers"),
        ("1\t2\nnan\t1\n", "a\nb\n", "finite"),
        ("", "", "equally many numbers"),
        ("1\t2\n3\t4\n", "a\n", "a line for each of 2 vectors, got 1"),
        ("1\t2\n3\t4\n", "one\ttwo\na\tb\n", "a line for each of 2 vectors, got 1"),
        ("1\t2\n" * 100, "a\n" * 100, "at most"),
    ],
)
def test_inconsistent_files_are_rejected_in_one_sentence(
    run: SweepDir, monkeypatch: pytest.MonkeyPatch, vectors: str, lines: str, said: str
) -> None:
    monkeypatch.setattr(projector, "MOST_BYTES", 200)
    offer(trial_of(run, 0, Script(until=200)), vectors, lines)
    with pytest.raises(RecordError, match=said):
        project_embeddings(run)
    assert shown(run) == []
    assert not list(run.path.glob(".documents*"))


def test_metadata_lines_have_no_special_characters(tmp_path: Path) -> None:
    (tmp_path / "vectors.tsv").write_text("1\n2\n")
    (tmp_path / "metadata.tsv").write_text("kind\ttext\na\t\x1b[31m api_key=sk-123\nb\u2028b\tc\n", "utf-8")
    EmbeddingPoints.read(tmp_path).write(tmp_path)
    heads, first, second, end = (tmp_path / "metadata.tsv").read_text("utf-8").split("\n")
    assert (heads, first, end) == ("kind\ttext", "a\t?[31m api_key=[redacted]", "")
    assert second.endswith("\tc")


@pytest.mark.parametrize(("most", "kept"), [(10, [0, 1, 2, 3, 4]), (5, [0, 1, 2, 3, 4]), (3, [0, 2, 4]), (1, [0])])
def test_too_many_points_are_thinned_evenly(tmp_path: Path, most: int, kept: Sequence[int]) -> None:
    (tmp_path / "vectors.tsv").write_text("".join(f"{i}\t1\n" for i in range(5)))
    (tmp_path / "metadata.tsv").write_text("".join(f"{i}\n" for i in range(5)))
    thinned = EmbeddingPoints.read(tmp_path).thinned(most)
    assert thinned.vectors[:, 0].tolist() == kept
    assert thinned.lines == [str(i) for i in kept]


def test_unusable_weights_are_reported(run: SweepDir, capsys: pytest.CaptureFixture[str]) -> None:
    trial = make_trial(run)
    play(trial, Script(until=200))
    trial.best.mkdir()
    facts = read_json(trial.facts)
    params = facts["params"]
    assert isinstance(params, dict)
    write_json(trial.facts, {**facts, "params": {**params, "dataset": ["20newsgroups", "nowhere"]}})
    assert main([str(run.path)]) == 2
    assert "trial 0000: " in capsys.readouterr().err
    assert shown(run) == []


@pytest.mark.slow
def test_the_embedding_process_ends_with_tensorboard(run: SweepDir) -> None:
    """Making them takes seconds; TensorBoard is ended before."""
    trial = make_trial(run)
    play(trial, Script(until=200))
    trial.best.mkdir()
    with served_tensorboard(run):
        until(lambda: bool(working_on(trial)))
    until(lambda: not working_on(trial), patience_s=1)  # one that went on would need more for torch alone
    assert not list(run.path.glob(".documents*"))


def working_on(trial: TrialDir) -> list[str]:
    """The processes that name the trial on their command line."""
    named, found = os.fsencode(Path(*trial.path.parts[-3:])), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path.parent.name] if named in path.read_bytes() else []
    return found
