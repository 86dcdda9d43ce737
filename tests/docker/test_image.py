"""The image, built and run for real where a Docker daemon is, or can be started."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docker.daemon import Docker, base_image, daemon, pip_secrets

ROOT = Path(__file__).parents[2]
IMAGE = "sweeper-test/image"
PATIENCE_S = 600.0
CLOSED = (
    "--init",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--network=none",
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(3600)]


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A daemon with the image."""
    folder = tmp_path_factory.mktemp("docker")
    with daemon(folder / "daemon") as found:
        if isinstance(found, str):
            pytest.skip(found)
        base = base_image(found, folder)
        if base.startswith("!"):
            pytest.skip(base[1:])
        with pip_secrets(folder) as secrets:
            build = ("build", "--network=host", "--progress=plain", f"--build-arg=BASE={base}", *secrets)
            found.run(*build, f"--tag={IMAGE}", f"--file={ROOT}/docker/Dockerfile", str(ROOT), timeout_s=3000)
        yield found


@dataclass(frozen=True, slots=True)
class Volume:
    """Runs, and the containers that work on them."""

    docker: Docker
    name: str

    def start(self, *command: str) -> str:
        """A container that does a command of sweeper."""
        return self.docker.run("run", "--detach", *CLOSED, f"--volume={self.name}:/work/runs", IMAGE, *command)

    def shell(self, script: str) -> str:
        """What a script prints that looks at the runs."""
        arguments = ("run", "--rm", *CLOSED, f"--volume={self.name}:/work/runs", "--entrypoint=sh", IMAGE)
        return self.docker.run(*arguments, "-c", script)

    def events(self, trial: int) -> list[dict[str, Any]]:
        """What all attempts of a trial recorded."""
        text = self.shell(f"cat runs/plain-loop/trials/{trial:04d}/attempts/*/events.jsonl 2>/dev/null; true")
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


@pytest.fixture
def volume(docker: Docker) -> Iterator[Volume]:
    name = docker.run("volume", "create")
    yield Volume(docker, name)
    for container in docker.run("ps", "--all", "--quiet", f"--filter=volume={name}").split():
        docker.run("rm", "--force", container)
    docker.run("volume", "rm", name)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.5)


def test_a_container_is_nobody_writes_nowhere_and_has_no_compiler(docker: Docker) -> None:
    said = docker.run(
        *("run", "--rm", *CLOSED, "--entrypoint=sh", IMAGE, "-c"),
        "id -u; touch /work/x 2>/dev/null || echo closed; command -v cc gcc c++ clang ld; "
        "find / -xdev -name pip.conf -size +0 -o -xdev -name ca.pem -size +0 2>/dev/null; echo end",
    )
    assert said.split() == ["1000", "closed", "end"]


def test_a_stop_reaches_the_workers_and_the_next_container_resumes(volume: Volume) -> None:
    arguments = ("run", "experiments/plain_loop.yaml", "parameters.steps.value=300")
    first = volume.start(*arguments)
    until(lambda: any(event["event"] == "Metrics" for event in volume.events(0)))
    volume.docker.run("stop", "--time=300", first)
    assert volume.docker.run("inspect", "--format={{.State.ExitCode}}", first) == "130"
    kinds = [event["event"] for event in volume.events(0)]
    assert kinds[-2:] == ["Checkpointed", "Finished"]

    second = volume.start(*arguments)
    until(lambda: any(event["event"] == "Resumed" for event in volume.events(0)))
    volume.docker.run("kill", "--signal=KILL", second)  # as a node does that fails: no process is told

    third = volume.start(*arguments)
    assert volume.docker.run("wait", third, timeout_s=PATIENCE_S) == "0", volume.docker.run("logs", third)
    assert volume.shell("cat runs/plain-loop/trials/0000/attempts/3/exit.json | grep -c Exit") == "1"
    finished = [event for event in volume.events(0) if event["event"] == "Finished"]
    assert finished[-1]["outcome"] == "completed"


def test_the_sweep_of_the_readme_runs_inside(volume: Volume) -> None:
    """Shortened to an epoch; without a network, so with the corpus and the pieces of words that are built in."""
    container = volume.start("run", "experiments/warmup.yaml", "epochs=1", "--workers=2")
    assert volume.docker.run("wait", container, timeout_s=PATIENCE_S) == "0", volume.docker.run("logs", container)
    status = json.loads(volume.shell("sweeper status --json runs/warmup"))
    assert status["state"] == "COMPLETE"
    assert len(status["trials"]) == 4
    assert {trial["state"] for trial in status["trials"]} <= {"COMPLETE", "PRUNED"}
    assert volume.shell("find runs/warmup/tensorboard -name 'events.*' | wc -l") != "0"
