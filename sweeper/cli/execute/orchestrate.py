"""Running what is left of an opened run, for every command that does."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeper.cli.exit_codes import FAILED, INTERRUPTED, OK
from sweeper.cli.messages import in_words, print_ranking, say
from sweeper.errors import Unwritable, UsageError

if TYPE_CHECKING:
    from sweeper.executors.machine import Machine
    from sweeper.orchestrator.opening import Run


def orchestrate(run: Run, machine: Machine) -> int:
    """Run what is left of an opened run, where its sweep says, and print the ranking."""
    from sweeper.executors.choice import executor_of
    from sweeper.orchestrator.loop import Orchestrator
    from sweeper.orchestrator.resources.usage import measured_peak_mb
    from sweeper.record.reader import read_trials
    from sweeper.record.storage.inbox import Command, person, send
    from sweeper.record.trial import State
    from sweeper.results.restart import restarts_text
    from sweeper.results.wording import counted
    from sweeper.rules import rules_of
    from sweeper.search import search_for
    from sweeper.views.terminal.live import show

    try:
        executor = executor_of(
            run.spec,
            run.directory,
            machine,
            peak_mb=lambda: measured_peak_mb(trial for trial, _ in read_trials(run.directory)[0]),
        )
    except UsageError:
        run.lease.release()
        raise

    def send_signed(command: Command) -> None:
        send(run.directory, replace(command, by=person()))

    with show(sys.stdout, keys=sys.stdin, send=send_signed) as view:
        orchestrator = Orchestrator(
            run,
            executor=executor,
            search=search_for(run.spec, run.learned),
            rules=rules_of(run.spec.early_stop, run.spec.score),
            display=view,
        )
        try:
            outcome = orchestrator.run()
        except BrokenPipeError:
            raise
        except OSError as error:
            running = sum(trial.state is State.RUNNING for trial in orchestrator.trials)
            left = f"{counted(running, 'trial runs', 'trials run')} on, and the next call takes over"
            raise Unwritable(f"{in_words(error)}.\nThe sweep ends here; {left}") from error
    run.lease.release()
    print_ranking(run.directory)
    if lines := orchestrator.audit_lines:
        say("\n".join([*lines, ""]))
    if outcome == "interrupted":
        say(restarts_text(orchestrator.trials, str(run.directory.path), run.spec.resume_args))
    return {"complete": OK, "spent": OK, "failed": FAILED}.get(outcome, INTERRUPTED)
