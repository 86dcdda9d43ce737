"""`sweeper doctor`: what it says of this machine, and of what is wrong with it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.preflight import doctor
from sweeper.preflight.doctor import Finding, Level, examine


@pytest.fixture(autouse=True)
def _torch_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda _: Finding(subject="torch", level=Level.OK, text="2"))


def found(runs: Path, **environment: str) -> dict[str, Finding]:
    return {finding.subject: finding for finding in examine(runs, environment)}


def test_a_place_that_can_be_written_is_fine_and_stays_as_it_was(tmp_path: Path) -> None:
    assert found(tmp_path / "runs" / "deep")["runs"].level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_trouble_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--runs", "/proc/runs"]) == 1
    said = capsys.readouterr().out
    assert "trouble  runs: /proc cannot be written" in said
    assert "--runs" in said


def test_the_data_caches_are_those_of_the_environment(tmp_path: Path) -> None:
    assert found(tmp_path, SCIKIT_LEARN_DATA=str(tmp_path))["20 newsgroups"].level is Level.NOTE
    (tmp_path / "20news-bydate_py3.pkz").touch()
    assert found(tmp_path, SCIKIT_LEARN_DATA=str(tmp_path))["20 newsgroups"].level is Level.OK


def test_a_taken_port_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(doctor, "TENSORBOARD_PORT", taken.getsockname()[1])
        assert found(tmp_path)["TensorBoard"].level is Level.NOTE


def test_devices_without_a_torch_that_sees_them_are_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    finding = doctor._torch(["GPU-0"])
    if finding.text.endswith("it sees no device"):  # as on a machine without one
        assert finding.level is Level.TROUBLE
        assert "pytorch.org" in finding.advice
    assert doctor._torch([]).level is Level.OK
