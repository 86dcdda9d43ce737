"""Half A of the zoo."""

from benchmarks.zoo import classifiers, games, regressions

TASKS = (*classifiers.TASKS, *games.TASKS, *regressions.TASKS)
