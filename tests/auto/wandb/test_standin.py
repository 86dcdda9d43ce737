"""The stand-in, where the package is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.auto.wandb.setup import Setup
from tests.auto.scripts import Run, ran, run


def stand_in(tmp_path: Path, script: str, **options: object) -> Run:
    return ran(tmp_path, script, hidden=["wandb"], **options)


def test_a_script_that_uses_much_of_wandb_runs(tmp_path: Path) -> None:
    script = """
        import argparse
        import wandb
        from wandb import Artifact
        from wandb.errors import CommError
        from wandb.sdk.wandb_run import Run

        wandb.login(key="abc")
        args = argparse.Namespace(lr=0.5, depth=2)
        run = wandb.init(project="p", entity="e", config=args, tags=["a"], settings=wandb.Settings(start_method="fork"))
        assert isinstance(run, Run) and run.project == "p" and run.id and run.name and run.url is None
        wandb.config.update({"extra": 1})
        wandb.config.later = 3
        wandb.config.setdefaults({"later": 4, "more": 5})
        print(dict(wandb.config), "lr" in wandb.config, wandb.config.get("none"))
        assert wandb.config.as_dict() == {**run.config}
        wandb.define_metric("val/*", step_metric="epoch")
        wandb.watch(object(), log="all", log_freq=10)
        table = wandb.Table(columns=["a"])
        table.add_data(1)
        table.add_column("b", [2])
        assert table.data == [[1, 2]]
        for step in range(2):
            wandb.log({"loss": 1.0 - step, "image": [wandb.Image(1, caption="x")], "table": table}, step=step)
        wandb.log({"h": wandb.Histogram([1]), "v": wandb.Video("x"), "p": wandb.plot.line(table, "a", "b", title="t")})
        wandb.log({"roc": wandb.plot.roc_curve([0], [1]), "html": wandb.Html("x"), "audio": wandb.Audio("x")})
        artifact = wandb.Artifact("model", type="model", metadata={"a": 1})
        artifact.add_file("model.pt")
        with artifact.new_file("x.txt") as file:
            file.write("x")
        run.log_artifact(artifact).wait()
        wandb.save("model.pt")
        wandb.alert("title", "text", level=wandb.AlertLevel.WARN)
        open(run.dir + "/own.txt", "w").close()
        wandb.run.summary["best"] = 0.5
        run.summary.update({"worst": 0.25})
        print(run.summary["loss"], run.summary.best, run.step)
        wandb.unwatch()
        wandb.finish()
        print(wandb.run)
    """
    done = stand_in(tmp_path, script, params={"lr": 1e-3})
    config = "{'lr': 0.001, 'depth': 2, 'extra': 1, 'later': 3, 'more': 5}"
    assert done.out.splitlines() == [f"{config} True None", "0.0 0.5 3", "None"]
    assert done.logged == [
        ("wandb.log", {"loss": 1.0}, 0),
        ("wandb.log", {"loss": 0.0}, 1),
        ("wandb.summary", {"best": 0.5}, None),
        ("wandb.summary", {"worst": 0.25}, None),
    ]
    assert len(list(done.directory.glob("wandb/run-*/files/own.txt"))) == 1
    assert "sweeper: numbers that wandb logs are recorded in the trial; images, tables and artifacts" in done.err


def test_the_values_of_the_sweep_win_and_stay(tmp_path: Path) -> None:
    script = """
        import wandb

        wandb.init(config={"lr": 5, "optimizer": {"name": "adam"}})
        wandb.config.update({"lr": 6})
        wandb.config.lr = 7
        print(wandb.config.lr, wandb.config.optimizer["name"])
    """
    done = stand_in(tmp_path, script, params={"lr": 1e-05, "optimizer.name": "sgd"})
    assert done.out.split() == ["1e-05", "sgd"]
    assert done.err.count("Config item 'lr' was locked by 'sweep'") == 2


def test_runs_follow_each_other_and_copies_can_be_made(tmp_path: Path) -> None:
    script = """
        import copy, pickle
        import wandb

        with wandb.init(config={"a": 1}) as run:
            assert wandb.init() is run
            print(copy.deepcopy(run.config), pickle.loads(pickle.dumps(wandb.config)), hasattr(run, "nothing"))
        with wandb.init(id="abc", name="mine", dir="here") as run:
            print(run.id, run.name, dict(wandb.config), run.dir)
        try:
            run.log({"a": 1})
        except wandb.Error as error:
            print(error)
    """
    lines = stand_in(tmp_path, script).out.splitlines()
    assert lines[0] == "{'a': 1} {'a': 1} False"
    assert lines[1] == "abc mine {} here/wandb/run-abc/files"
    assert lines[2] == "Run (abc) is finished. The call to `log` will be ignored."


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("wandb.log({})", "Error: You must call wandb.init() before wandb.log()"),
        ("wandb.config.lr", "Error: You must call wandb.init() before wandb.config.lr"),
        ("wandb.init().log(3)", "TypeError: wandb.log must be passed a dictionary"),
        ("wandb.init().log({1: 2})", "TypeError: Key values passed to `wandb.log` must be strings."),
        ("wandb.init(config=3)", "TypeError: expected a config that is a mapping or has attributes, got 3"),
        ("wandb.sweep({})", "UsageError: wandb.sweep(...) was called in a trial of sweeper"),
        ("wandb.agent('x')", "UsageError: wandb.agent(...) was called in a trial of sweeper"),
        ("wandb.Api()", "UsageError: wandb.Api needs W&B's server, and the package wandb is not installed"),
        ("wandb.init().use_artifact('a:latest')", "UsageError: use_artifact needs W&B's server"),
        ("wandb.whatever", "AttributeError: wandb.whatever is not part of the stand-in that sweeper provides because"),
        ("wandb.plot.whatever", "AttributeError: wandb.plot.whatever is not part of the stand-in"),
        ("wandb.init().whatever", "AttributeError: wandb.Run.whatever is not part of the stand-in"),
        ("import wandb.keras", "ModuleNotFoundError: wandb.keras is not part of the stand-in"),
    ],
)
def test_what_it_does_not_have_is_said_in_one_sentence(tmp_path: Path, code: str, message: str) -> None:
    done = run(tmp_path, f"import wandb\n{code}", hidden=["wandb"])
    assert done.code == 1
    assert message in done.err.strip().splitlines()[-1]


def test_a_library_that_asks_for_wandb_does_not_find_it(tmp_path: Path) -> None:
    script = """
        import importlib, importlib.util, sysconfig

        def found_by(file):
            names = {"__name__": "library"}
            exec(compile("try: import wandb\\nexcept ImportError: wandb = None", file, "exec"), names)
            return names["wandb"] is not None

        print(found_by(sysconfig.get_path("purelib") + "/library.py"), importlib.util.find_spec("wandb"))
        print(found_by("library.py"), importlib.import_module("wandb").__version__)
    """
    assert stand_in(tmp_path, script).out.splitlines() == ["False None", "True 0.0.0+sweeper"]


def test_an_installed_package_is_not_replaced(tmp_path: Path) -> None:
    script = """
        import wandb

        print(wandb.origin)
    """
    (tmp_path / "work" / "wandb").mkdir(parents=True)
    (tmp_path / "work" / "wandb" / "__init__.py").write_text("origin = 'mine'\n__version__ = '1'\n")
    done = ran(tmp_path, script)
    assert done.out == "mine\n"
    (note,) = done.notes
    assert note.startswith("wandb was not prepared for the trial, so what it logs may not be recorded: ")


def test_only_groups_of_the_sweep_file_are_nested(tmp_path: Path) -> None:
    params = {"optimizer.lr": 0.1, "model.width": 3, "loss": {"name": "l1"}}
    nesting = {"model.width": ("model", "width")}
    setup = Setup(params=params, directory=tmp_path, log=lambda *_: None, nesting=nesting)
    assert setup.config == {"optimizer.lr": 0.1, "model": {"width": 3}, "loss": {"name": "l1"}}
