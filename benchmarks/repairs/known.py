"""What the packed recordings say: which runs fail if they are left alone, and which healthy ones would be touched."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.repairs.plan import Judge

ARCHIVES = Path(__file__).resolve().parents[2] / "tests/backtest"
HALVES, BERTS = ("zoo-a", "zoo-b"), ("verdicts", "verdicts-mild")
UNUSED = ("zoo-b", *BERTS)
"""The recordings on which no threshold was set."""


@contextmanager
def unpacked(name: str) -> Iterator[Path]:
    """Unpack an archive of recordings for a while."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(ARCHIVES / f"{name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def zoo_truth() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the known outcomes of the recorded runs of each half of the zoo."""
    with unpacked("zoo") as folder:
        return {half: json.loads((folder / half / "truth.json").read_text()) for half in HALVES}


def bert_outcomes() -> tuple[list[dict[str, Any]], Mapping[str, float]]:
    """Return the BERT runs that did not learn, and the accuracy from which on a run of each recording has learned."""
    from sweeper.backtest import read_recordings

    stalls: list[dict[str, Any]] = []
    borders: dict[str, float] = {}
    with unpacked("verdicts") as folder:
        for recording in read_recordings([folder / name for name in BERTS], say=print):
            borders[recording.name] = recording.start + recording.half
            for one in recording.stalls:
                values = {name: one.params[name] for name in ("lr", "warmup_fraction")}
                stalls.append({"run": recording.name, **values, "seed": one.seed})
    return stalls, borders


def known(cache: Path) -> tuple[Judge, list[dict[str, Any]]]:
    """Return how runs are judged, and the BERT runs that did not learn; read once, and then from `cache`."""
    if not cache.exists():
        stalls, borders = bert_outcomes()
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"truth": zoo_truth(), "stalls": stalls, "borders": borders}))
    read = json.loads(cache.read_text())
    return Judge(read["truth"], read["borders"]), read["stalls"]


def healthy_lines(commit: str) -> Iterator[dict[str, Any]]:
    """Yield, for each recording, how many of its healthy runs would be stopped and repaired by `repair: auto`."""
    from sweeper.backtest import Recording, read_recordings
    from sweeper.backtest.repairs import replay_repairs
    from sweeper.record.derivation import Derivation

    found: list[Recording] = []
    with unpacked("zoo") as zoo, unpacked("verdicts") as bert:
        truths = [zoo / half / "truth.json" for half in HALVES]
        found += read_recordings([zoo / half for half in HALVES], truths=truths, say=print)
        found += read_recordings([bert / name for name in BERTS], say=print)
        for run in replay_repairs(found).runs:
            touched = [one for one in run.trials if one.outcome is True]
            yield {
                "part": "healthy",
                "run": run.recording.name,
                "used": run.recording.name not in UNUSED,
                "healthy": len(run.recording.learners),
                "stopped": len(touched),
                "repaired": sum(isinstance(one.found, Derivation) for one in touched),
                "which": [f"{one.case.label.removeprefix('case=')}, seed {one.case.seed}: {one.change.diagnosis} at "
                          f"step {one.change.step}" for one in touched],
                "commit": commit,
            }  # fmt: skip
