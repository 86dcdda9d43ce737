"""TensorBoard's backend on a sweep: the tab that it opens, its layout, and HParams while trials run."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from sweeper.record.events import Metrics
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.views.tensorboard.process import project
from tests.views.synthetic import DECISION, Script, make_trial, play
from tests.views.tensorboard.servers import PATIENCE_S, asked, served_tensorboard, until

EVERY_STATE = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


def write_sweep(run: SweepDir) -> None:
    """A trial that is complete, one that was pruned, one that runs."""
    run.spec.write_text("{}")
    play(make_trial(run, 0), Script(until=300))
    play(make_trial(run, 1), Script(until=161, outcome="stopped", decision=DECISION))
    play(make_trial(run, 2), Script(until=200, outcome="", exit_code=None))
    project(run, 1000)


def sessions(url: str) -> dict[str, tuple[str, dict[str, float]]]:
    """State and metrics of each trial, by the beginning of its name."""
    wanted = {"experimentName": "", "allowedStatuses": EVERY_STATE, "colParams": [], "startIndex": 0, "sliceSize": 9}
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}data/plugin/hparams/session_groups", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310 - loopback
        groups: list[dict[str, Any]] = json.load(answer)["sessionGroups"]
    return {
        group["name"][:4]: (
            group["sessions"][0]["status"],
            {metric["name"]["tag"]: metric["value"] for metric in group["sessions"][0]["metricValues"]},
        )
        for group in groups
    }


def test_it_opens_on_one_page_of_all_runs_and_hparams_follows_the_trials(tmp_path: Path) -> None:
    run = SweepDir(tmp_path)
    write_sweep(run)
    with served_tensorboard(run) as url:
        until(lambda: len(asked(url, "runs")) == 3)
        assert next(iter(asked(url, "plugins_listing"))) == "custom_scalars"
        (category,) = asked(url, "plugin/custom_scalars/layout")["category"]
        assert [chart["title"].split(":")[0] for chart in category["chart"]] == [
            "accuracy/test",
            "training loss",
            "reach",
            "update ratio",
        ]
        found = sessions(url)
        assert {name: state for name, (state, _) in found.items()} == {
            "0000": "STATUS_SUCCESS",
            "0001": "STATUS_FAILURE",
            "0002": "STATUS_UNKNOWN",
        }
        assert {name: metrics.get("pruned/step") for name, (_, metrics) in found.items()} == {
            "0000": None,
            "0001": 160.0,
            "0002": None,
        }
        with JournalWriter(run.trial(2).attempt(1).events) as journal:
            journal.append(Metrics(step=200, values={"accuracy/test": 0.75}))
        project(run, 1000)
        until(lambda: sessions(url)["0002"][1]["accuracy/test"] == 0.75)
