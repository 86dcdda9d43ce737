"""All tasks of the zoo, by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.zoo.task import Arm, Task

HERE = Path(__file__).resolve().parent


def tasks(modules: Sequence[str] = ()) -> Mapping[str, Task]:
    """Return the tasks of these modules, by default of every `tasks_*.py` here.

    Raises:
        ValueError: two tasks have the same name.
    """
    names = modules or sorted(path.stem for path in HERE.glob("tasks_*.py"))
    found: dict[str, Task] = {}
    for name in names:
        known: Sequence[Task] = importlib.import_module(f"benchmarks.zoo.{name}").TASKS
        for task in known:
            if task.name in found:
                raise ValueError(f"two tasks have the name {task.name}")
            found[task.name] = task
    return found


def case(name: str) -> tuple[Task, Arm]:
    """Return the task and the arm of a case, which is named `task/arm`."""
    task, _, arm = name.partition("/")
    found = tasks()[task]
    return found, found.arm(arm)
