"""The server as a process: its address, its events, and its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sweeper.cli import main
from sweeper.errors import UsageError
from sweeper.record.storage.layout import SweepDir
from sweeper.ui.server import bound
from tests.views.synthetic import Script, make_trial, play

ADDRESS = re.compile(r"^(http://[\w.\[\]:-]+)/\?token=([\w-]{43})$")
PATIENCE_S = 60.0


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The command in a process: it, its address and its token."""
    command = [sys.executable, "-m", "sweeper.cli", "ui", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        try:
            found = ADDRESS.match(process.stdout.readline().strip())
            assert found is not None, process.communicate()
            yield process, found[1], found[2]
        finally:
            process.kill()


def entered(token: str) -> httpx.Client:
    return httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE_S)


def test_the_page_is_served_until_ctrl_c_which_is_quiet(run: SweepDir) -> None:
    with served(str(run.path.parent), "--port", "0") as (process, address, token), entered(token) as client:
        assert address.startswith("http://127.0.0.1:")
        assert "accuracy/test" in client.get(f"{address}/runs/s").text
        assert httpx.get(f"{address}/runs/s").status_code == 401
        with client.stream("GET", f"{address}/runs/s/events"):  # an open page does not hold it up
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert errors == ""


def test_an_open_page_is_told_of_a_change(run: SweepDir) -> None:
    with (
        served(str(run.path.parent), "--port", "0") as (_, address, token),
        entered(token) as client,
        client.stream("GET", f"{address}/runs/s/events") as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        first = next(lines)
        play(make_trial(run, 6), Script(until=640))
        assert next(lines) != first


def test_it_reads_only(run: SweepDir) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in run.path.rglob("*")}

    before = state()
    with served(str(run.path.parent), "--port", "0") as (_, address, token), entered(token) as client:
        for path in (
            "/",
            "/runs/s",
            "/runs/s/trials/2",
            "/runs/s/data/depth/2",
            "/runs/s/data/importance",
            "/runs/s/compare/0/1",
        ):
            assert client.get(f"{address}{path}").status_code == 200
    assert state() == before


def test_another_address_is_warned_of_and_needs_the_token_too(run: SweepDir) -> None:
    with served(str(run.path), "--host", "0.0.0.0", "--port", "0") as (process, address, token):  # noqa: S104 - to be warned of
        port = address.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/runs/s").status_code == 401
        with entered(token) as client:
            assert client.get(f"http://127.0.0.1:{port}/runs/s").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert "is not encrypted" in " ".join(errors.split())


def test_a_port_that_is_taken_is_named_or_the_next_one_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", str(tmp_path), "--port", str(port)]) == 2
        assert f"port {port}" in capsys.readouterr().err
    with bound("127.0.0.1", None) as first, bound("127.0.0.1", None) as second:
        assert first.getsockname()[1] != second.getsockname()[1]


def test_an_address_of_no_machine_is_named() -> None:
    with pytest.raises(UsageError, match="--host"):
        bound("no such host", 0)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", str(tmp_path / "none")]) == 2
    assert "expected the directory of runs" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "plotly"])
def test_without_its_extra_it_says_what_to_install(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["ui", str(tmp_path)]) == 2
    assert f'needs {library}, which is not installed. Run: pip install "sweeper[ui]"' in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_help_needs_no_extra_and_names_it() -> None:
    hide = "import sys; sys.modules.update(starlette=None, uvicorn=None, plotly=None)"
    hidden = f"{hide}; from sweeper.cli import main; main(['ui', '--help'])"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0
    assert 'pip install "sweeper[ui]"' in " ".join(done.stdout.split())
