"""A Docker daemon for tests: the one that is there, or one of our own; and an image to build on, without a registry."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN_S = 60.0
BASE = "sweeper-test/base"
INCLUDED = "ca-certificates,python3,python3-venv"
ENGINE = "/usr/bin/docker"
"""Debian's client, which builds with the BuildKit of the daemon; others may want a plugin for it."""


@dataclass(frozen=True, slots=True)
class Docker:
    """A daemon that answers."""

    client: str
    environment: dict[str, str]

    def run(self, *arguments: str, timeout_s: float = 600) -> str:
        """What a command prints.

        Raises:
            AssertionError: it failed; with all that it said.
        """
        run = subprocess.run(
            [self.client, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
        assert run.returncode == 0, f"docker {' '.join(arguments)}: exit code {run.returncode}\n{run.stdout[-8000:]}"
        return run.stdout.strip()


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[Docker | str]:
    """A daemon, or why there is none."""
    client = ENGINE if Path(ENGINE).exists() else shutil.which("docker")
    if client is None:
        yield "no Docker here: docker not found (on Debian: apt-get install docker.io debootstrap)"
        return
    there = Docker(client, {**os.environ, "DOCKER_BUILDKIT": "1"})
    if _answers(there):
        yield there
        return
    server = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if server is None or os.geteuid() != 0:
        yield "no Docker daemon answers, and none can be started: " + ("not root" if server else "dockerd not found")
        return
    with _own(folder, server, client) as started:
        yield started


@contextlib.contextmanager
def _own(folder: Path, server: str, client: str) -> Iterator[Docker | str]:
    """A daemon that touches no network and nothing outside its folder."""
    folder.mkdir(parents=True)
    socket = f"unix://{folder}/socket"
    command = [
        *(server, "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=overlay2"),
        *(f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid", f"--host={socket}"),
    ]
    log = folder / "dockerd.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    docker = Docker(client, {**os.environ, "DOCKER_BUILDKIT": "1", "DOCKER_HOST": socket})
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not _answers(docker) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        yield docker if _answers(docker) else f"dockerd does not start here: {log.read_text()[-2000:]}"
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def base_image(docker: Docker, folder: Path) -> str:
    """An image to build on: SWEEPER_TEST_BASE, or a Debian made by debootstrap; or why there is none, after `!`."""
    if given := os.environ.get("SWEEPER_TEST_BASE"):
        return given
    if shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        return "!no image to build on: set SWEEPER_TEST_BASE, or install debootstrap"
    tree = folder / "base"
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", "bookworm", str(tree), *_mirror()],
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if made.returncode:
        return f"!debootstrap fails: {made.stdout[-1000:]}"
    with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            [docker.client, "import", "-", BASE],
            stdin=tar.stdout,
            env=docker.environment,
            check=True,
            capture_output=True,
        )
    shutil.rmtree(tree)
    return BASE


def _mirror() -> Sequence[str]:
    """Debian's mirror as this machine is set up; debootstrap's own where it says nothing."""
    for sources in (*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")):
        with contextlib.suppress(OSError):
            for line in sources.read_text().splitlines():
                words = line.split()
                if words[:1] == ["URIs:"] and "security" not in line:
                    return [words[1]]
                if words[:1] == ["deb"] and "security" not in line:
                    return [next(word for word in words if "://" in word)]
    return []


@contextlib.contextmanager
def pip_secrets(folder: Path) -> Iterator[Sequence[str]]:
    """Arguments of a build that let pip inside reach what pip reaches here, and nothing of which stays in the image.

    Wheels that lie on this disk are served on loopback meanwhile.
    """
    settings = ["timeout = 180"]
    secrets = []
    if certificates := _pip("cert"):
        settings.append("cert = /run/secrets/ca.pem")
        secrets.append(f"--secret=id=ca.pem,src={certificates}")
    told = {name: _pip(name) for name in ("index-url", "extra-index-url", "trusted-host")}
    settings += [f"{name} = {value}" for name, value in told.items() if value and "file:" not in value]
    wheels = _pip("find-links")
    with contextlib.ExitStack() as stack:
        if wheels and Path(wheels).is_dir():
            settings.append(f"find-links = {stack.enter_context(_served(Path(wheels)))}")
        file = folder / "pip.conf"
        file.write_text("\n".join(["[global]", *settings, ""]))
        yield [*secrets, f"--secret=id=pip.conf,src={file}"]


def _pip(name: str) -> str:
    """What pip is told here by its environment, or its configuration."""
    told = os.environ.get(f"PIP_{name.replace('-', '_').upper()}")
    if told is not None:
        return told
    run = subprocess.run(["python3", "-m", "pip", "config", "get", f"global.{name}"], capture_output=True, text=True)
    return run.stdout.strip()


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


def _answers(docker: Docker) -> bool:
    run = subprocess.run([docker.client, "version"], env=docker.environment, capture_output=True)
    return run.returncode == 0
