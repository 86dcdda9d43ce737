"""`sweeper doctor`: its checks of this machine, and its advice."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.preflight import doctor
from sweeper.preflight.doctor import Level, MachineCheck, examine


@pytest.fixture(autouse=True)
def _torch_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_torch", lambda _: MachineCheck(subject="torch", level=Level.OK, text="2"))


def found(runs: Path, **environment: str) -> dict[str, MachineCheck]:
    return {check.subject: check for check in examine(runs, environment)}


def test_a_writable_directory_is_ok_and_stays_unchanged(tmp_path: Path) -> None:
    assert found(tmp_path / "runs" / "deep")["runs"].level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_writable_is_trouble_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--runs", "/proc/runs"]) == 1
    said = capsys.readouterr().out
    assert "trouble  runs: /proc is not writable" in said
    assert "--runs" in said


def test_the_environment_names_the_data_caches(tmp_path: Path) -> None:
    assert found(tmp_path, SCIKIT_LEARN_DATA=str(tmp_path))["20 newsgroups"].level is Level.NOTE
    (tmp_path / "20news-bydate_py3.pkz").touch()
    assert found(tmp_path, SCIKIT_LEARN_DATA=str(tmp_path))["20 newsgroups"].level is Level.OK


def test_a_port_in_use_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(doctor, "TENSORBOARD_PORT", taken.getsockname()[1])
        assert found(tmp_path)["TensorBoard"].level is Level.NOTE


def test_devices_that_torch_does_not_find_are_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    check = doctor._torch(["GPU-0"])
    if check.text.endswith("it finds no device"):  # as on a machine without one
        assert check.level is Level.TROUBLE
        assert "pytorch.org" in check.advice
    assert doctor._torch([]).level is Level.OK
