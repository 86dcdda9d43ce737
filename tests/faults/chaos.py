"""Random runs: any signal to any process of a sweep at any moment, and then to the end.

`python -m tests.faults.chaos --runs 300 --seed N --save FILE` runs the seeds N, N + 1, ..., and appends the outcome of
each to FILE as a line of JSON. Seeds that passed are not run again, so it may be interrupted and resumes.

A run starts a small sweep and sends it several signals, each at a random moment, to the orchestrator, a shim, a
worker, the views process or the preload server. It calls `sweeper run` again until the sweep has ended, and disturbs
further calls too. In the end, everything has to be as if nothing had happened:

1. The table of `sweeper status --json` is that of an undisturbed sweep.
2. No trial was launched again after it was complete.
3. Nothing is left: no process, no lease, no slot in the ledger, no temporary file.
4. No process printed a traceback, except where a signal interrupted a user's script or a call that just started.
5. Each call ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.lease import is_held
from sweeper.record.trial import State
from sweeper.worker.process.shim import descendants
from tests.faults.harness import no_lease_is_held, no_process_is_left, no_trial_had_two_workers, undisturbed
from tests.faults.sweeps import LAUNCHES, PRELUDE, ROOT, TORCH_LOOP, Kind, Site
from tests.faults.sweeps import LOOP as PLAIN_LOOP

SIGNALS = [
    *(signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGALRM, signal.SIGABRT, signal.SIGSEGV, signal.SIGPIPE, signal.SIGCHLD, signal.SIGSTOP),
]
TARGETS = ("orchestrator", "shim", "worker", "views", "preload server")
PATIENCE_S = 120.0
CALLS = 12
"""So many calls of `sweeper run` have to be enough."""
DISTURBED_CALLS = 2
HALT_S = 0.3
"""A process that was stopped continues after this time: a stop by itself never ends."""
TORCH_EVERY = 20
"""One seed of so many runs a sweep that imports torch."""

TRACEBACK = re.compile(r"^Traceback .*\n(?:\s.*\n)*", re.MULTILINE)
"""A traceback: stacks that a worker writes at SIGUSR1, as it should, begin otherwise."""

PLAIN = Kind(name="plain", script=PRELUDE + PLAIN_LOOP, trials=6, steps=10, pace_s=0.03, quiet=False)
TORCH = Kind(name="torch", script=PRELUDE + TORCH_LOOP, trials=3, steps=8, quiet=False)


@dataclass(slots=True, kw_only=True)
class ChaosOutcome:
    """What came of one seed; `problems` is empty where everything held, and `kept` is where the rest lies."""

    seed: int
    kind: str
    launch: str
    events: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0
    commit: str = ""
    kept: str = ""

    def line(self) -> str:
        """The outcome as a line of progress."""
        result = "; ".join(self.problems) if self.problems else "passed"
        what = f"{self.kind} {self.launch}, {len(self.events)} signals, {self.calls} calls, {self.seconds:.1f} s"
        return f"seed {self.seed}: {result} ({what})" + (f" {self.kept}" if self.kept else "")


class ChaosRun:
    """One sweep, its signals, and the calls that bring it to its end."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"chaos {seed}")
        kind = TORCH if seed % TORCH_EVERY == TORCH_EVERY - 1 else PLAIN
        launch = LAUNCHES[seed % 2]
        self.outcome = ChaosOutcome(seed=seed, kind=kind.name, launch=launch, commit=_commit())
        self.site = Site(kind, Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-")), launch)
        self.temporary = self.site.folder / "tmp"
        self.temporary.mkdir()
        self.site.environment["TMPDIR"] = str(self.temporary)
        self.interrupted: set[Path] = set()

    def run(self) -> ChaosOutcome:
        """Run the sweep to its end, and check what is left."""
        began, problems = time.monotonic(), self.outcome.problems
        reference = undisturbed(self.site.kind)
        try:
            complete: dict[Path, int] = {}
            while self.outcome.calls < CALLS and not self._is_over(len(reference.table)):
                problems += self._call()
                problems += self._launched_again(complete)
                complete |= self._complete()
                if problems:
                    break
            if not problems:
                problems += self._checks(reference.table, complete)
        finally:
            self.site.clear()
        self.outcome.seconds = round(time.monotonic() - began, 1)
        if problems:
            self.outcome.kept = str(self.site.folder)
        else:
            shutil.rmtree(self.site.folder)
        return self.outcome

    # ---- calls and signals ------------------------------------------------------------------------------------

    def _is_over(self, trials: int) -> bool:
        states = [trial.state for trial in self.site.trials()]
        return len(states) == trials and set(states) == {State.COMPLETE}

    def _call(self) -> Iterator[str]:
        """Call `sweeper run`, and disturb it if it is one of the first."""
        process = self.site.start()
        output = self.site.outputs[-1]
        self.outcome.calls += 1
        for _ in range(self.random.randint(1, 5) if self.outcome.calls <= DISTURBED_CALLS else 0):
            self._disturb(process, output)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            yield f"call {self.outcome.calls} does not end: {_last_lines(output)}"

    def _disturb(self, process: subprocess.Popen[bytes], output: Path) -> None:
        """Send a random signal to a random process, at a random moment of the time in which there is one."""
        targets = TARGETS if self.outcome.launch == "preload" else TARGETS[:-1]
        name, number = self.random.choice(targets), self.random.choice(SIGNALS)
        while not self._pids(name, process) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(self.random.uniform(0, 2.0 if name == "orchestrator" else self.random.choice([0.0, 0.1, 0.5])))
        if not (pids := self._pids(name, process)):
            return
        pid = self.random.choice(pids)
        if name == "orchestrator" and not self.site.run.log.exists():
            self.interrupted.add(output)  # it may still import
        self.outcome.events.append(f"{number.name} to {name} in call {self.outcome.calls}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(HALT_S)
                os.kill(pid, signal.SIGCONT)

    def _pids(self, target: str, process: subprocess.Popen[bytes]) -> list[int]:
        """The processes of this kind now, found from outside: also those that have claimed nothing yet."""
        if target == "orchestrator":
            return [process.pid] if process.poll() is None else []
        commands = self.site.processes()
        shims = {pid for pid, command in commands.items() if " sweeper.worker.process.shim " in command}
        owners = (owner_of(attempt).get("pid") for attempt in self.site.attempts() if is_held(attempt.lease))
        shims |= {pid for pid in owners if isinstance(pid, int)}
        match target:
            case "shim":
                return sorted(shims)
            case "worker":
                return sorted({pid for shim in shims for pid in descendants(shim)} - shims)
            case "views":
                return [pid for pid, command in commands.items() if " sweeper.views.tensorboard " in command]
        return [pid for pid, command in commands.items() if " sweeper.worker.process.preload " in command][:1]

    # ---- what has to hold ---------------------------------------------------------------------------------------

    def _complete(self) -> dict[Path, int]:
        return {t.directory.path: t.newest.number for t in self.site.trials() if t.state is State.COMPLETE}

    def _launched_again(self, complete: dict[Path, int]) -> Iterator[str]:
        for trial in self.site.trials():
            if trial.newest.number != complete.get(trial.directory.path, trial.newest.number):
                yield f"trial {trial.number} was complete, and was launched again"

    def _checks(self, table: Sequence[dict[str, object]], complete: dict[Path, int]) -> Iterator[str]:
        if not self._is_over(len(table)):
            yield f"not over after {CALLS} calls: {[trial.state.value for trial in self.site.trials()]}"
            return
        launched = self.site.launches()
        code = self.site.start().wait(PATIENCE_S)
        if code != 0 or self.site.launches() != launched:
            yield f"one more call: expected 0 and no launch, got {code} and {self.site.launches() - launched} launches"
        yield from self._launched_again(complete)
        if (got := self.site.table()) != table:
            yield f"the table: expected it as undisturbed, got {[row for row in got if row not in table] or got}"
        for check in (no_process_is_left, no_lease_is_held, no_trial_had_two_workers):
            yield from check(self.site, undisturbed(self.site.kind), {})
        yield from self._left_files()
        yield from self._tracebacks()

    def _left_files(self) -> Iterator[str]:
        ledger = json.loads((self.site.folder / "slots" / "ledger.json").read_text())
        if any(ledger.values()):
            yield f"the slot ledger is not empty: {ledger}"
        hidden = [
            *(path for path in self.site.folder.rglob(".*") if path.suffix == ".tmp" or ".saving." in path.name),
            *self.temporary.iterdir(),
        ]
        if hidden:
            yield f"temporary files are left: {[str(path.relative_to(self.site.folder)) for path in hidden]}"

    def _tracebacks(self) -> Iterator[str]:
        logs = [path for path in self.site.outputs if path not in self.interrupted]
        for path in (*logs, self.site.run.views_log):
            with contextlib.suppress(FileNotFoundError):
                if "Traceback" in (text := path.read_text(errors="replace")):
                    yield f"{path.name}: a traceback: {text[text.index('Traceback') :][-1000:]}"
        for attempt in self.site.attempts():
            for trace in TRACEBACK.findall(attempt.output.read_text(errors="replace")):
                if "sweeper/worker/process" in trace:
                    yield f"trial {attempt.trial.number}: a traceback of sweeper: {trace[-1000:]}"


def _last_lines(path: Path) -> str:
    return " / ".join(path.read_text(errors="replace").splitlines()[-5:])


def _commit() -> str:
    """Return the commit, with a plus if the package has uncommitted changes."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short=7", "HEAD") + ("+" if git("status", "--porcelain", "sweeper") else "")


def _passed(save: Path | None) -> set[int]:
    """The seeds that passed according to a file; the last line of a seed counts."""
    if save is None or not save.exists():
        return set()
    outcomes = [json.loads(line) for line in save.read_text().splitlines() if line.strip()]
    problems = {outcome["seed"]: outcome["problems"] for outcome in outcomes}
    return {seed for seed, found in problems.items() if not found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds; return 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=300, metavar="N", help="number of seeds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="first seed (default: %(default)s)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="file to which each outcome is appended")
    given = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    passed, failed = _passed(given.save), 0
    for seed in range(given.seed, given.seed + given.runs):
        if seed in passed:
            continue
        outcome = ChaosRun(seed).run()
        failed += bool(outcome.problems)
        print(outcome.line(), flush=True)  # noqa: T201 - progress
        if given.save is not None:
            with given.save.open("a") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
