"""The lines of a sweep file for its metric, and for how an unmodified script is watched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sweeper.config import inline_yaml
from sweeper.mistakes import printable
from sweeper.preflight.arguments import Arguments, Passing

LOWER = ("loss", "error", "err", "perplexity", "ppl", "mse", "mae", "rmse", "nll", "wer", "cer", "fid", "bpb", "bpc")
"""Words in the name of a metric that mean that lower is better."""
HELD_OUT = ("test", "val", "valid", "validation", "eval", "dev")
GUESS, INFERRED = "loss/train", "loss/backward"
"""The metric of a script of which no metric is known; the second is what `watch: auto` always reports."""


def metric_lines(read: Arguments) -> Iterator[str]:
    """Return the line `metric`: one of held-out data, if the script logs one, and no loss, if it has a choice."""
    names = sorted(read.metrics, key=lambda name: (not _has(name, HELD_OUT), _has(name, LOWER)))
    printed = read.printed[0] if read.printed is not None and not read.opens_trial else None
    name = names[0] if names else printed or (INFERRED if _is_watched(read) else GUESS)
    goal = "minimize" if _has(name, LOWER) else "maximize"
    among = f"; reported metrics: {printable(', '.join(read.metrics))}" if len(names) > 1 else ""
    if name == INFERRED:
        yield "# TO DO: no name of a reported metric could be read, so this is the loss at each backward():"
    elif not names and printed is None:
        yield "# TO DO: this is a guess, because the names of the reported metrics could not be read:"
    elif not names:
        yield "# TO DO: the script only prints this metric: remove the # before `metrics` below, so that it is read:"
    yield f"metric: {inline_yaml({'name': name, 'goal': goal})}  # the trials are ranked by it{among}"


def tail_lines(read: Arguments) -> Iterator[str]:
    """Return the last lines of the file: how the script is watched, and whether trials are stopped early."""
    stop = "early_stop: auto  # stop failing trials early and record why"
    if read.opens_trial:
        yield stop
        return
    if not read.metrics:
        name, pattern = read.printed or ("loss/test", "test loss: ([0-9.eE+-]+)")
        yield "# A metric that the script only prints can be read from its output:"
        yield f"# metrics: {inline_yaml({name: {'output': pattern}})}"
    if _is_watched(read):
        yield "watch: auto  # the script is watched without changes"
        yield stop
        return
    yield "# The script does not report to sweeper yet: three lines with sweeper.trial() report its metric and layers"
    yield "# early_stop: auto  # with them, stop failing trials early and record why"


def _is_watched(read: Arguments) -> bool:
    """Return whether `watch: auto` records an unmodified script."""
    return not read.opens_trial and (read.imports_torch or read.passing is Passing.WANDB)


def _has(name: str, words: Sequence[str]) -> bool:
    parts = name.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_")
    return any(word in parts for word in words)
