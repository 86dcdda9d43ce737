"""Notifications of real sweeps by a command and to a real HTTP server; a failure does not delay the sweep."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_sweeps import LEARNER, PATIENCE_S, ROOT, Sweep, grid

KEEP = [sys.executable, "-c", "import sys; open('told', 'a').write(sys.argv[1] + '|' + sys.stdin.read() + '\\n')"]
SECRET = "T0P-s3cret"  # noqa: S105 - it opens nothing
MIXED = """
import sweeper
with sweeper.trial() as trial:
    lr = trial.params["lr"]
    for step in range(60):
        trial.report({"loss/train": 1.0 if lr == 2 else 1 / (1 + step), "accuracy": float(lr)}, step=step)
        if trial.should_stop:
            break
    while lr == 2 and not trial.should_stop:
        pass
    if lr == 3:
        raise ValueError("no such luck, password=hunter2")
"""


def told(folder: Path) -> list[dict[str, Any]]:
    path = folder / "told"
    lines = path.read_text().splitlines() if path.exists() else []
    found = []
    for line in filter(None, lines):
        text, _, body = line.partition("|")
        found.append(json.loads(body))
        assert found[-1]["text"] == text
    return found


def sweep_of(folder: Path, notify: dict[str, Any], *, script: str = LEARNER, lrs: tuple[float, ...] = (1,)) -> Sweep:
    parameters = {"lr": {"values": list(lrs)}}
    return Sweep(folder, script, grid("told") | {"parameters": parameters, "retry": {"max": 0}, "notify": notify})


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    got: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(404 if "missing" in self.path else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", got
        server.shutdown()
        thread.join()


def run(sweep: Sweep, *arguments: str, **env: str) -> tuple[int, str]:
    process = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "run", "sweep.yaml", *arguments],
        cwd=sweep.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in process.stderr
    return process.returncode, process.stdout + process.stderr


def test_a_command_is_notified_of_the_end_of_failures_and_of_prunes(tmp_path: Path) -> None:
    file = {"on": ["end", "failure", "prune"], "command": [*KEEP, "${text}"]}
    sweep = sweep_of(tmp_path, file, script=MIXED, lrs=(1, 2, 3))
    text = json.loads((tmp_path / "sweep.yaml").read_text())
    text["early_stop"] = {"rules": [{"plateau": {"grace_steps": 20}}]}
    (tmp_path / "sweep.yaml").write_text(json.dumps(text))
    code, out = run(sweep, "--workers", "1")
    assert code == 1, out
    pruned, failed, end = told(tmp_path)
    assert (pruned["event"], pruned["trial"], failed["event"], failed["trial"]) == ("prune", 1, "failure", 2)
    assert pruned["text"].startswith("told: 0001 pruned by plateau at step")
    assert "0002 failed after 60 steps: ValueError: no such luck" in failed["text"]
    assert "hunter2" not in failed["text"]
    assert (end["event"], end["outcome"], end["sweep"]) == ("end", "failed", "told")
    counts = "told: failed: 1 COMPLETE, 1 PRUNED, 1 FAIL; health: 2 ok, 1 failed"
    assert end["text"] == f"{counts}; best accuracy 3 of 0002 (lr=3)"
    assert "notify" not in out


def test_a_webhook_from_the_environment_is_notified_and_not_recorded(
    tmp_path: Path, server: tuple[str, list[tuple[str, Any]]]
) -> None:
    url, got = server
    sweep = sweep_of(tmp_path, {"on": "end", "webhook": "${HOOK}"})
    code, out = run(sweep, HOOK=f"{url}/{SECRET}")
    assert code == 0, out
    (path, body), *others = got
    assert (path, others) == (f"/{SECRET}", [])
    assert body["text"] == "told: complete: 1 COMPLETE; health: 1 ok; best accuracy 820 of 0000 (lr=1)"
    assert SECRET not in out
    assert not [p for p in sweep.run_directory.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]


def test_a_failed_notification_is_reported_once_without_the_address(
    tmp_path: Path, server: tuple[str, list[tuple[str, Any]]]
) -> None:
    url, got = server
    notify = {"on": ["end", "failure"], "webhook": f"{url}/missing/{SECRET}", "command": ["false"]}
    sweep = sweep_of(tmp_path, notify, script=MIXED, lrs=(3, 3.5, 1))
    code, out = run(sweep, "--workers", "1")
    assert code == 1
    assert len(got) == 2
    assert out.count("notify: the webhook failed: HTTP status 404") == 1
    assert out.count("notify: the command failed: exit code 1; see runs/told/notify.log") == 1
    assert SECRET not in out
    code, out = run(sweep, f"notify={json.dumps({'webhook': url + '/' + SECRET})}")
    assert "Added to the sweep: notify" in out
    assert SECRET not in out


@pytest.mark.parametrize(
    ("notify", "why"),
    [
        (
            {"webhook": "${NO_SUCH_HOOK}"},
            "the webhook failed: the environment variable NO_SUCH_HOOK is not set",
        ),
        ({"webhook": "http://127.0.0.1:1/" + SECRET}, "the webhook failed: Connection refused"),
        ({"webhook": "http://[" + SECRET}, "the webhook failed: ValueError"),
        ({"command": ["no-such-command"]}, "the command failed: No such file or directory"),
        ({"command": ["sleep", "600"], "timeout_s": 0.2}, "it took longer than 0.2 s and was killed"),
    ],
)
def test_a_failed_notification_does_not_delay_the_sweep(tmp_path: Path, notify: dict[str, Any], why: str) -> None:
    code, out = run(sweep_of(tmp_path, {"on": "end", **notify}))
    assert code == 0, out
    assert out.count(why) == 1
    assert SECRET not in out


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ({}, "notify: expected a command, a webhook, or both, got neither"),
        ({"command": ["a"], "on": "start"}, "end, failure, prune or breaker"),
        ({"webhook": f"ftp://x/{SECRET}"}, "notify.webhook: expected a URL that begins with http:// or https://"),
        ({"command": ["a"], "timeout_s": 0}, "notify.timeout_s"),
    ],
)
def test_mistakes_in_notify_are_explained_without_secrets(tmp_path: Path, notify: dict[str, Any], said: str) -> None:
    code, out = run(sweep_of(tmp_path, notify))
    assert code == 2
    assert said in out
    assert SECRET not in out
