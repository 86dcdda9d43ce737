"""What happens at the start of each Python process of a worker, in real interpreters; packages are empty files."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeper.auto.frameworks import TRAINERS
from sweeper.auto.loggers import LOGGERS
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR
from sweeper.worker.process import injection
from tests.auto.conftest import Record

ROOT = Path(__file__).parents[2]
SITE = injection.FOLDER / "sitecustomize.py"
WATCHED = "import sys; print(any(type(f).__module__ == 'sweeper.auto.imports' for f in sys.meta_path))"


def python(
    code: str,
    *,
    record: Record | None,
    folder: Path,
    path: tuple[Path, ...] = (ROOT,),
    interpreter: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run code as the shim would start it, with these folders as the user's PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SWEEPER_", "PYTHON"))}
    given = {**kept, **(environment or {}), "PYTHONPATH": os.pathsep.join(map(str, path))}
    if record is not None:
        given |= {TRIAL_DIR: str(record.directory.path), ATTEMPT: "1"}
    return subprocess.run(
        [interpreter, "-c", code], cwd=folder, env=injection.injected(given), capture_output=True, text=True
    )


def ran(code: str, **options: object) -> str:
    """Run code that succeeds and prints nothing but its own output."""
    done = python(code, **options)  # type: ignore[arg-type]  # passed on
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the user, with a package that trains or logs in name."""
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "trackio.py").write_text("value = 3\n")
    return folder


def test_the_finder_is_there_from_the_first_such_import_on(record: Record, folder: Path) -> None:
    loaded = "print(any(name.split('.')[0] == 'sweeper' for name in sys.modules))"
    code = f"import sys, json, http\n{loaded}\nimport trackio\nprint(trackio.value)\n{loaded}\n{WATCHED}"
    assert ran(code, record=record, folder=folder).split() == ["False", "3", "True", "True"]


def test_its_own_folder_is_not_on_the_path_of_the_script(record: Record, folder: Path) -> None:
    code = "import sys; print([f for f in sys.path if 'inject' in f])"
    assert ran(code, record=record, folder=folder) == "[]\n"


def test_nothing_is_done_outside_a_trial(folder: Path) -> None:
    code = f"import sys, trackio\nprint([f for f in sys.meta_path if type(f).__name__ == 'FirstImport'])\n{WATCHED}"
    assert ran(code, record=None, folder=folder) == "[]\nFalse\n"


def test_asking_whether_torch_is_installed_imports_nothing(record: Record, folder: Path) -> None:
    code = (
        "import importlib.util, sys; found = importlib.util.find_spec('torch')\n"
        "print(found is not None, 'torch' in sys.modules, found.loader is not None)"
    )
    assert ran(code, record=record, folder=folder) == "True False True\n"
    assert not record.events


def test_a_sitecustomize_of_the_user_is_executed_too(record: Record, folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import sys; sys.users_own = 3\n")
    code = f"import sys, sitecustomize, trackio\nprint(sys.users_own, sitecustomize.__file__)\n{WATCHED}"
    out = ran(code, record=record, folder=folder, path=(folder, ROOT))
    assert out.split() == ["3", str(folder / "sitecustomize.py"), "True"]


@pytest.mark.parametrize("text", ["raise ValueError('of the user')", "import no_such_module_of_a_test"])
def test_a_sitecustomize_of_the_user_that_fails_says_what_it_says_without_sweeper(
    record: Record, folder: Path, text: str
) -> None:
    (folder / "sitecustomize.py").write_text(text)
    with_sweeper = python(f"import trackio\n{WATCHED}", record=record, folder=folder, path=(folder, ROOT))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    alone = subprocess.run(
        [sys.executable, "-c", "print(True)"], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert (with_sweeper.returncode, with_sweeper.stdout) == (0, "True\n")
    assert alone.stderr
    assert with_sweeper.stderr == alone.stderr


def test_a_script_may_change_its_environment_before_the_import(record: Record, folder: Path) -> None:
    code = f"import os; os.environ.clear()\nimport trackio\n{WATCHED}"
    assert ran(code, record=record, folder=folder) == "True\n"


def test_a_broken_trial_is_said_and_the_script_runs(record: Record, folder: Path) -> None:
    record.directory.facts.write_text("{")
    done = python("import trackio; print(trackio.value)", record=record, folder=folder)
    assert (done.returncode, done.stdout) == (0, "3\n")
    assert done.stderr.startswith("sweeper: this process is not watched: RecordError(")
    assert done.stderr.count("\n") == 1


def test_another_module_of_the_same_name_does_not_fail(record: Record, folder: Path) -> None:
    (folder / "torch.py").write_text("value = 4\n")
    out = ran("import torch; print(torch.value)", record=record, folder=folder, path=(folder, ROOT))
    assert out == "4\n"


@pytest.mark.slow
def test_an_interpreter_without_sweeper_loads_it_from_its_own_folder(record: Record, folder: Path) -> None:
    venv.create(folder / "venv", with_pip=False)
    interpreter = str(folder / "venv" / "bin" / "python")
    code = (
        f"import trackio\n{WATCHED}\nimport sweeper\nprint(sweeper.__file__)\n"
        f"print({str(ROOT)!r} in sys.path)\n"
        "import importlib.util\nprint(importlib.util.find_spec('tests'))"
    )
    out = ran(code, record=record, folder=folder, path=(folder,), interpreter=interpreter)
    assert out.split() == ["True", str(ROOT / "sweeper" / "__init__.py"), "False", "None"]


def test_all_packages_with_a_call_after_their_import_are_waited_for() -> None:
    packages = runpy.run_path(str(SITE))["PACKAGES"]
    called = {name.partition(".")[0] for name in ("torch", *TRAINERS, *LOGGERS)}
    assert called <= packages
    assert packages - called <= {"accelerate", "wandb"}


def test_only_a_process_that_was_meant_to_be_watched_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ran_files: list[str] = []
    monkeypatch.setattr(runpy, "run_path", ran_files.append)
    injection.inject_here({"PYTHONPATH": f"/lib{os.pathsep}{injection.FOLDER}"})
    injection.inject_here({})
    assert not ran_files
    injection.inject_here(injection.injected({"PYTHONPATH": "/lib"}))
    assert ran_files == [str(SITE)]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({}, [injection.FOLDER]),
        ({"PYTHONPATH": ""}, [injection.FOLDER]),
        ({"PYTHONPATH": "a:b"}, [injection.FOLDER, "a", "b"]),
    ],
)
def test_the_path_of_the_user_follows_the_folder(before: dict[str, str], expected: list[object]) -> None:
    environment = injection.injected({"HOME": "/home", **before})
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(part) for part in expected]
    assert environment["HOME"] == "/home"
