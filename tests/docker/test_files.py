"""What docker/ says: linted, and held to what an image and its containers promise, without a daemon."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "docker"
COMPOSED = ["compose.yaml", "compose.ray.yaml"]


def instructions() -> list[str]:
    text = (FOLDER / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.strip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def services(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text())["services"])


def test_the_dockerfile_is_linted() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    linted = subprocess.run([hadolint, str(FOLDER / "Dockerfile")], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


def test_the_code_comes_after_what_it_requires_so_that_large_layers_are_kept() -> None:
    texts = instructions()
    order = [next(i for i, text in enumerate(texts) if word in text) for word in ("torch.txt", "rest.txt", "--no-deps")]
    assert order == sorted(order)


def test_the_image_installs_no_compiler_and_runs_as_nobody_with_rights() -> None:
    texts = instructions()
    assert not [text for text in texts if any(word in text for word in ("apt-get", "gcc", "build-essential", "sudo"))]
    assert [text for text in texts if text.startswith("USER")] == ["USER 1000:1000"]
    assert texts.index("USER 1000:1000") > max(i for i, text in enumerate(texts) if text.startswith("RUN"))


def test_no_secret_is_copied_and_no_place_of_packages_is_named() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    assert "://" not in text
    assert not [line for line in instructions() if line.startswith("COPY") and "pip.conf" in line]


@pytest.mark.parametrize("name", COMPOSED)
def test_containers_are_closed(name: str) -> None:
    for service in services(name).values():
        assert service["read_only"]
        assert service["init"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")
        assert "network_mode" not in service
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_node_hands_its_gpus_and_shared_memory_to_the_sweep_and_lets_it_save() -> None:
    sweep = services("compose.yaml")["sweep"]
    device = sweep["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert sweep["shm_size"]
    assert sweep["stop_grace_period"] == "2m"
    assert "runs:/work/runs" in sweep["volumes"]


def test_ray_lets_in_only_who_has_the_token() -> None:
    for service in services("compose.ray.yaml").values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert "ports" not in service


@pytest.mark.parametrize("name", COMPOSED)
def test_compose_understands_its_file(name: str, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("docker compose is not installed")
    checked = subprocess.run(
        [docker, "compose", "-f", str(FOLDER / name), "config", "-q"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_what_is_installed_first_is_what_the_package_requires() -> None:
    script = [sys.executable, str(FOLDER / "requirements.py"), str(FOLDER.parent / "pyproject.toml")]
    torch = subprocess.run([*script, "torch"], capture_output=True, text=True, check=True).stdout.split("\n")
    rest = subprocess.run([*script, "rest", "all", "ray"], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    assert [line.split(">")[0] for line in torch if line] == ["torch"]
    assert {"optuna", "pyyaml", "ray", "scipy"} <= {line.split(">")[0] for line in rest}
    assert not [line for line in rest if line.startswith("sweeper")]
    assert "torch" not in {line.split(">")[0] for line in rest}
