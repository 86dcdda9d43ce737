"""The installed package in a trial. No test reaches a network or has an account."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.auto.scripts import need, ran, run


@pytest.fixture(autouse=True)
def wandb_is_installed() -> None:
    need("wandb")


def test_runs_are_offline_and_their_files_are_with_the_trial(tmp_path: Path) -> None:
    script = """
        import wandb

        wandb.login()
        run = wandb.init(project="p", mode="online")
        print(run.settings.mode, run.dir)
        run.log({"a": 1})
    """
    done = ran(tmp_path, script)
    mode, folder = done.out.split()[:2]
    assert mode == "offline"
    assert Path(folder).is_relative_to(done.directory / "wandb")
    (note,) = done.notes
    assert note.startswith("wandb.init(mode='online') was run offline, because no W&B account is configured.")


def test_the_users_own_folder_and_mode_are_kept(tmp_path: Path) -> None:
    script = """
        import wandb

        run = wandb.init()
        print(run.disabled, run.dir)
    """
    done = ran(tmp_path, script, environment={"WANDB_MODE": "disabled", "WANDB_DIR": str(tmp_path)})
    assert done.out.split()[0] == "True"
    assert not list(done.directory.iterdir())


def test_with_an_account_the_mode_is_the_scripts_own(tmp_path: Path) -> None:
    script = """
        import os, wandb

        os.environ["WANDB_API_KEY"] = "0" * 40  # after the import

        def make_run_settings(self, settings, *args, **kwargs):
            print("mode", settings.mode)
            raise SystemExit(3)

        wandb.sdk.wandb_init._WandbInit.make_run_settings = make_run_settings
        wandb.init()
    """
    done = run(tmp_path, script, environment={"WANDB_BASE_URL": "http://localhost:1"})
    assert done.code == 3, done.err
    assert done.out.split() == ["mode", "online"]


def test_the_values_of_the_sweep_win_and_stay(tmp_path: Path) -> None:
    script = """
        import wandb

        run = wandb.init(config={"lr": 5, "optimizer": {"name": "adam"}, "epochs": 2})
        wandb.config.update({"lr": 6}, allow_val_change=True)
        wandb.config.lr = 7
        print(wandb.config.lr, wandb.config["optimizer"], wandb.config.epochs, dict(run.config)["flag"])
    """
    params = {"lr": 1e-05, "optimizer.name": "sgd", "optimizer.momentum": 0.9, "flag": True}
    done = ran(tmp_path, script, params=params)
    assert done.out.splitlines()[0] == "1e-05 {'name': 'sgd', 'momentum': 0.9} 2 True"


def test_without_parameters_the_config_is_the_scripts_own(tmp_path: Path) -> None:
    script = """
        import wandb

        print(dict(wandb.init(config={"lr": 5}).config))
    """
    assert ran(tmp_path, script).out.splitlines()[0] == "{'lr': 5}"


@pytest.mark.parametrize("call", ['sweep({"method": "grid"})', 'agent("abc", function=print)'])
def test_sweeps_of_wandb_are_refused_in_a_trial(tmp_path: Path, call: str) -> None:
    done = run(tmp_path, f"import wandb\nwandb.{call}", params={"lr": 0.1})
    assert done.code == 1
    expected = f"wandb.{call.partition('(')[0]}(...) was called in a trial of sweeper, which takes the place of W&B's"
    assert expected in done.err
