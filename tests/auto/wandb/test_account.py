from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.auto.wandb.account import is_configured


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_configured_at_first() -> None:
    assert not is_configured({})


@pytest.mark.parametrize("variable", ["WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"])
def test_variables_configure(variable: str) -> None:
    assert is_configured({variable: "x"})
    assert not is_configured({variable: ""})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("machine api.wandb.ai login user password secret", True),
        ("machine wandb.example.org login user password secret", False),
        ("machine github.com login user password secret", False),
        ("machine", False),
    ],
)
def test_a_login_configures(home: Path, text: str, expected: bool) -> None:
    (home / ".netrc").write_text(text)
    assert is_configured({}) is expected
    moved = (home / ".netrc").rename(home / "elsewhere")
    assert not is_configured({})
    assert is_configured({"NETRC": str(moved)}) is expected


def test_a_login_at_a_server_of_ones_own_configures(home: Path) -> None:
    (home / ".netrc").write_text("machine wandb.example.org login user password secret")
    assert is_configured({"WANDB_BASE_URL": "https://wandb.example.org"})


@pytest.mark.parametrize("file", [".config/wandb/settings", "wandb/settings", "other/settings"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [("[default]\nmode = offline\n", True), ("[default]\nproject = x\n", False), ("no settings\n", False)],
)
def test_settings_of_the_command_line_configure(home: Path, file: str, text: str, expected: bool) -> None:
    (home / file).parent.mkdir(parents=True)
    (home / file).write_text(text)
    assert is_configured({"WANDB_CONFIG_DIR": "other"} if file.startswith("other") else {}) is expected
