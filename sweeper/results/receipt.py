"""How a trial ended, in words: in one line, or as the receipt that `sweeper why` prints.

The receipt of a trial lists its state, parameters and attempts, why it ended, the evidence, its health, and advice.
"""

from __future__ import annotations

import functools
import math
import os
import shlex
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sweeper.config import ResumeArgs
from sweeper.errors import RecordError
from sweeper.record.attempt import Attempt
from sweeper.record.causes import Cause
from sweeper.record.decision import Decision
from sweeper.record.events import Exit, StopRequested
from sweeper.record.pareto import dominates
from sweeper.record.resumption import Resumption
from sweeper.record.storage import confined
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.output import cut_of
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import spelled
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.damage import REMEDY, places
from sweeper.results.evidence import split_evidence
from sweeper.results.front import front_of, has_rank, missed_text, objectives_text, trial_ranks
from sweeper.results.health.advice import advice
from sweeper.results.health.timeline import timeline
from sweeper.results.health.trial_health import (
    NOTHING_TRAINED,
    STANDALONE_SLOT,
    health_text,
    inferred_text,
    is_standalone,
    unobserved_text,
)
from sweeper.results.restart import restart_text
from sweeper.results.snapshot import steps_done
from sweeper.results.wording import brief, counted, decided_by, duration, number, plain, why_continued

OUTPUT_LINES = 20
OUTPUT_BYTES = 16_384
LONGEST_PARAMETER = 300
"""Maximum number of characters of a parameter that is text."""
LONGEST_OUTPUT = 160
"""Maximum number of characters of the last line of a failed trial's output in one line about the trial."""


def receipt(
    trial: TrialRecord,
    siblings: Sequence[TrialRecord] = (),
    *,
    resume_args: ResumeArgs | None = None,
    searched: Sequence[str] = (),
    asked: Sequence[str] = (),
) -> str:
    """Return the receipt of a trial: plain text, safe for a terminal.

    Args:
        siblings: the other trials of the sweep, on which the advice is based.
        resume_args: those of the sweep file, with which an interrupted trial may resume.
        searched: lines about what the search was told of the trial.
        asked: lines about the commands that people and agents gave for the trial.
    """
    facts = trial.facts
    params = {**redacted_values(facts.params), "seed": facts.seed}
    varied = {n: value for n, value in params.items() if n in {*facts.shown, "seed"} or not facts.shown}
    lines = [
        f"trial {facts.number:04d}: {trial.state.value}",
        *aligned([(plain(name), _parameter(value)) for name, value in varied.items()]),
        "",
        *_attempt_lines(trial),
        *_irregularities(trial),
        *filter(None, [inferred_text([trial])]),
        *(f"note: {plain(note)}" for note in list(dict.fromkeys(trial.progress.notes))[-OUTPUT_LINES:]),
        "",
        *_ENDINGS.get(trial.state, _unended)(trial),
        *_rank(trial, siblings),
        *_restart(trial, resume_args),
        *_continued(trial),
        *asked,
        *searched,
        *_health(trial, siblings),
        *_advice(trial, siblings),
        *_section("constant parameters:", {n: value for n, value in params.items() if n not in varied}),
    ]
    return "\n".join(lines) + "\n"


def _parameter(value: object) -> str:
    return plain(spelled(value, most=LONGEST_PARAMETER)) if isinstance(value, str) else brief(value)


def _section(head: str, values: Mapping[str, object]) -> list[str]:
    return ["", head, *aligned([(plain(name), _parameter(value)) for name, value in values.items()])] if values else []


def end_line(trial: TrialRecord) -> str:
    """Return how the trial ended, in one line without its number."""
    match trial.state:
        case State.PRUNED:
            decision = _decision(trial)
            return plain(f"pruned by {decided_by(decision)}: {decision.reason}")
        case State.COMPLETE:
            parts = filter(None, [_value_text(trial), missed_text(trial)])
            return f"complete after {counted(steps_done(trial), 'step', 'steps')}: {'; '.join(parts)}"
        case State.FAIL:
            done = counted(steps_done(trial), "step", "steps")
            return plain(f"failed after {done}: {failure_of(trial)}{last_output(trial)}")
    return trial.state.value.lower()


def failure_of(trial: TrialRecord) -> str:
    """Return why a trial failed: the error that its script reported, or else the cause of its end."""
    attempt = trial.newest
    if trial.undecided:
        return f"its record is damaged, so it is not known how it ended, and it is not run again; {REMEDY}"
    if attempt.failed_after_completion and attempt.exit is not None and attempt.cause == Cause.ERROR:
        return f"the script completed, but then exited with code {attempt.exit.code}"
    error = next(iter(reversed(attempt.error.strip().splitlines())), "")
    if not error:
        return cause_text(attempt) or "unknown"
    details = [attempt.cause] if attempt.cause not in ("", Cause.ERROR) else []
    details += [_how(attempt.exit)] if attempt.exit else []
    return f"{error} ({', '.join(details)})" if details else error


def last_output(trial: TrialRecord) -> str:
    """Return the last line that a failed trial printed, to follow `failure_of`.

    It is empty if the trial recorded an error itself, or printed nothing. Secrets in the line are replaced.
    """
    attempt = trial.newest
    if attempt.error.strip() or not attempt.number:
        return ""
    line = _last_line(trial.attempt_dir.output, attempt.launch_time)
    return f"; its last output: {line[:LONGEST_OUTPUT]}{'…' if len(line) > LONGEST_OUTPUT else ''}" if line else ""


@functools.lru_cache(maxsize=4096)
def _last_line(log: Path, _launched: float) -> str:
    """Return the last line of a log that is no longer written; it is read once for each attempt."""
    return "".join(last_lines(log, 1)).strip()


def cause_text(attempt: Attempt) -> str:
    """Return why an attempt ended: the cause in one word and an explanation in brackets; empty if it has no cause."""
    cause, ended = attempt.cause, attempt.exit
    if not cause:
        return ""
    detail = _DETAILS.get(cause, "")
    if attempt.abandoned:
        detail = attempt.abandoned.reason
    elif cause == Cause.STOPPED and attempt.stop:
        end = f"; its process ended with {_how(ended)}" if ended and not attempt.outcome else ""
        detail = f"{_stopped_by(attempt.stop)}{end}"
    elif cause == Cause.ERROR and attempt.failed_after_completion:
        detail = f"{_how(ended)}, after its script had completed"
    elif cause == Cause.KILLED and ended is not None:
        detail = f"{_how(ended)}, {'sent by sweeper' if attempt.killed else 'not sent by sweeper'}"
    elif cause in (Cause.ERROR, Cause.NOT_FOUND) and ended is not None:
        detail = ", ".join(filter(None, [detail, _how(ended)]))
    return plain(f"{cause} ({detail})" if detail else cause)


def retry_text(trial: TrialRecord) -> str:
    """Return how a trial is restarted after the end of its attempt."""
    if not trial.retry_number:
        return "it will be restarted, alone on its devices" if trial.needs_whole_device else "it will be restarted"
    pause = f" in {trial.backoff_s:g} s" if trial.backoff_s else ""
    return f"it will be restarted{pause} (retry {trial.retry_number} of {trial.facts.retry.max})"


_DETAILS: Mapping[str, str] = {
    Cause.LOST: "its processes disappeared without an exit code",
    Cause.OOM: "killed by the system, which ran out of memory",
    Cause.NOT_FOUND: "the command cannot be started",
    Cause.STOPPED: "by a signal that sweeper did not send",
    Cause.CUDA_OOM: "a device ran out of memory",
    Cause.DAMAGED: "its `exit.json` is damaged",
}


def _stopped_by(stop: StopRequested) -> str:
    """Return what asked an attempt to stop: a rule, a person, or an interrupt or pause of the trial or sweep."""
    if stop.decision is None:
        return "by Ctrl-C, `sweeper stop` or a pause"
    return f"by {decided_by(stop.decision, 'the rule {}')}"


def _how(ended: Exit | None) -> str:
    """Return how a process ended: ``SIGKILL``, ``exit code 1``; empty if that is not known."""
    if ended is None or ended.cause == Cause.DAMAGED:
        return ""
    if ended.signal is None:
        return f"exit code {ended.code}"
    try:
        return signal.Signals(ended.signal).name
    except ValueError:
        return f"signal {ended.signal}"


def value_step(trial: TrialRecord) -> int | None:
    """Return the step at which the trial's value was measured; None if it has no value."""
    if trial.facts.objectives:
        return None if trial.point is None else trial.point.step
    series = trial.series
    if series is None:
        return None
    best = series.high_step if trial.facts.maximize else series.low_step
    return series.last_step if trial.facts.at == "last" else best


def _pruned(trial: TrialRecord) -> list[str]:
    decision = _decision(trial)
    lines = [
        f"pruned by {decided_by(decision, 'the rule {}')}",
        f"  {plain(decision.reason)}",
        f"  value until then: {_value_text(trial)}",
    ]
    return lines + _evidence_lines(decision.evidence)


def _health(trial: TrialRecord, siblings: Sequence[TrialRecord]) -> list[str]:
    """Return the health section: the timeline, advice on diagnoses that hold, and why nothing was observed."""
    if math.isnan(trial.progress.started):
        return []
    lines = timeline(trial, siblings)
    width = max((len(line.when) for line in lines), default=0)
    section = []
    for line in lines:
        section += [f"  {line.when:<{width}}  {line.text}", *(f"    {advice}" for advice in line.advice)]
    unobserved = unobserved_text(trial)
    if unobserved and not any(NOTHING_TRAINED in line.text for line in lines):
        section.append(f"  {unobserved}")
    return ["", f"health: {health_text(trial)}", *section]


def _advice(trial: TrialRecord, siblings: Sequence[TrialRecord]) -> list[str]:
    lines = advice(trial, [trial, *siblings])
    return ["", "compared with sibling trials:", *(f"  {line}" for line in lines)] if lines else []


def _continued(trial: TrialRecord) -> list[str]:
    """Return the decision that flagged the trial without stopping it, with its evidence."""
    continued = trial.continued
    if continued is None:
        return []
    decision = continued.decision
    lines = [
        "",
        f"flagged by {decided_by(decision, 'the rule {}')}, but continued ({why_continued(continued.cause)})",
        f"  {plain(decision.reason)}",
    ]
    return lines + _evidence_lines(decision.evidence)


def _failed(trial: TrialRecord) -> list[str]:
    lines = [f"failed: {plain(failure_of(trial))}"]
    error = trial.newest.error.strip().splitlines()
    if len(error) > 1:
        lines += [f"  {_safe(line)}" for line in error[-OUTPUT_LINES:]]
    tail = last_lines(trial.attempt_dir.output)
    return lines + (["", f"last lines of {trial.attempt_dir.output}:", *(f"  {line}" for line in tail)] if tail else [])


def _complete(trial: TrialRecord) -> list[str]:
    if math.isnan(trial.progress.started):  # metrics may have been read from its files and output all the same
        return [f"complete: {_value_text(trial)}"] if trial.progress.metrics else [*_NOTHING_RECORDED]
    done, ended = counted(steps_done(trial), "step", "steps"), trial.newest.exit
    lines = [f"complete: {_value_text(trial)}, after {done}"]
    if trial.newest.outcome == "completed" and _how(ended) not in ("", "exit code 0"):
        lines.append(f"  after that, its process ended by {_how(ended)}, which does not change the result")
    return lines


_NOTHING_RECORDED = """\
complete; only its output was recorded, because the script opened no trial. To record more, add to the script:

  with sweeper.trial() as trial:                       # after `import sweeper`
      trial.watch(model, optimizer)                    # once, before the loop
      trial.report({"loss/train": loss}, step=step)    # in the loop
""".splitlines()


def _unended(trial: TrialRecord) -> list[str]:
    of = "" if trial.progress.total_steps is None else f" of {trial.progress.total_steps}"
    return [f"{trial.state.value.lower()}: {steps_done(trial)}{of} steps done, {_value_text(trial)}"]


def _rank(trial: TrialRecord, siblings: Sequence[TrialRecord]) -> list[str]:
    """Return which constraints the trial misses, and whether it is on the Pareto front or what dominates it."""
    if trial.values is None:
        return []
    if missed := missed_text(trial):
        return [f"  {'not on the Pareto front' if trial.facts.objectives else 'misses a constraint'}: {missed}"]
    if not trial.facts.objectives:
        return []
    if not has_rank(trial):
        return ["  not on the Pareto front, because it did not end well"]
    trials = [trial, *(one for one in siblings if one.facts.number != trial.facts.number)]
    front = front_of(trials)
    if any(one is trial for one in front):
        return [f"  on the Pareto front, with {len(front) - 1} of {len(trials) - 1} other trials"]
    better = next(one for one in front if dominates(_signed(one), _signed(trial)))
    values = objectives_text(trial.facts.objectives, better.values or ())
    rank = trial_ranks(trials)[trial.facts.number] + 1
    return [f"  rank {rank}: {better.facts.number:04d} is at least as good in every objective ({values})"]


def _signed(trial: TrialRecord) -> list[float]:
    return [goal.signed(value) for goal, value in zip(trial.facts.objectives, trial.values or (), strict=True)]


def _restart(trial: TrialRecord, resume_args: ResumeArgs | None) -> list[str]:
    """Return from where an interrupted trial will run again."""
    if not trial.attempts or trial.state not in (State.WAITING, State.PAUSED):
        return []
    if is_standalone(trial):
        return ["  its script was run by itself, so sweeper does not run it again"]
    return [f"  {restart_text(trial, resume_args)}"]


_ENDINGS = {State.PRUNED: _pruned, State.FAIL: _failed, State.COMPLETE: _complete}


def _value_text(trial: TrialRecord) -> str:
    return _objectives_text(trial) if trial.facts.objectives else _metric_text(trial)


def _objectives_text(trial: TrialRecord) -> str:
    """Return the value of each objective, or which of them is missing."""
    point, names = trial.point, [plain(one.name) for one in trial.facts.objectives]
    if point is None or trial.values is None:
        logged = trial.progress.metrics
        missing = [name for name in names if name not in logged] or [
            name for name in names if point is not None and not math.isfinite(point.values[name])
        ]
        verb = "were" if len(missing) > 1 else "was"
        what = "not logged" if missing[0] not in logged else "not finite"
        others = [f"{plain(name)} {number(other.last)}" for name, other in logged.items()]
        rest = f"; other metrics: {', '.join(others[:4])}" if others else ""
        return f"{' and '.join(missing)} {verb} {what}, so the trial has no rank{rest}"
    text = f"{objectives_text(trial.facts.objectives, trial.values)} at step {point.step}"
    return f"{text} (no step has all of them, so each is the last)" if point.scattered else text


def _metric_text(trial: TrialRecord) -> str:
    series, metric = trial.series, plain(trial.facts.metric)
    if series is not None and trial.altered and trial.value is None:
        left = series.last if trial.facts.at == "last" else series.high if trial.facts.maximize else series.low
        return f"no value, because the record is damaged; {trial.facts.at} {metric} of what is left: {number(left)}"
    if series is None or trial.value is None:
        others = [f"{plain(name)} {number(other.last)}" for name, other in trial.progress.metrics.items()]
        if not metric:
            return ", ".join(others[:4]) or "no metric was logged"
        missing = f"{metric} was not logged"
        return f"{missing}; other metrics: {', '.join(others[:4])}" if others else missing
    last = f", last {number(series.last)}" if trial.facts.at == "best" else ""
    return f"{trial.facts.at} {metric} {number(trial.value)} at step {value_step(trial)}{last}"


def _decision(trial: TrialRecord) -> Decision:
    stop = trial.newest.stop
    return Decision.read({}) if stop is None or stop.decision is None else stop.decision


def _attempt_lines(trial: TrialRecord) -> list[str]:
    lines = []
    for attempt in trial.attempts:
        running = "running" if attempt is trial.newest and not attempt.exit else "ended"
        cause = cause_text(attempt) or running
        span = f" after {duration(attempt.end.time - attempt.launch_time)}" if attempt.end else ""
        known = attempt.exit is not None and not math.isnan(attempt.exit.peak_memory_mb)
        memory = f", peak memory {attempt.exit.peak_memory_mb:.0f} MiB" if attempt.exit and known else ""
        ends = (attempt.finished, attempt.exit)
        peaks = [end.peak_device_mb for end in ends if end is not None and end.peak_device_mb is not None]
        if peaks:
            memory += f", peak device memory {max(peaks):.0f} MiB"
        if attempt.measured:
            memory += f", {attempt.measured.device_peak_mb:.0f} MiB including all processes"
        stop = None if attempt.cause == Cause.STOPPED else attempt.stop  # the cause says by what
        asked = f", asked to stop {_stopped_by(stop)}" if stop else ""
        resumed = _resumed(trial.directory.attempt(attempt.number))
        where = ", run by itself" if attempt.slot == STANDALONE_SLOT else f" on {attempt.slot}"
        lines.append(plain(f"attempt {attempt.number}{where}: {cause}{span}{asked}{resumed}{memory}"))
    return lines or ["no attempt was started"]


def _resumed(attempt: AttemptDir) -> str:
    """Return how an attempt began, if its sweep has `resume_args`."""
    try:
        began = Resumption.read(attempt)
    except RecordError as error:
        return f", with arguments that are not known: {error}"
    if began is None:
        return ""
    if not began.args:
        return f", started without resume_args, because nothing was at {began.path}"
    return f", resumed with {shlex.join(began.args)}"


def _irregularities(trial: TrialRecord) -> list[str]:
    """Return notes on skipped steps, on damaged lines of the record, and on output that was removed."""
    skipped = trial.progress.skipped
    were = counted(skipped, "step was", "steps were")
    lines = [f"{were} skipped by the gradient scaler, because a gradient was not finite"] if skipped else []
    if trial.newest.number and (cut := cut_of(trial.attempt_dir)) is not None:
        lines.append(f"the middle of its output, {(cut.end - cut.begin) / 1e6:.0f} MB, was removed (output_limit_mb)")
    return lines + places(trial)


def _evidence_lines(evidence: Mapping[str, object]) -> list[str]:
    single, listed = split_evidence(evidence)
    lines = ["", "evidence:", *aligned([(plain(name), text) for name, text in single])]
    for head, rows in listed:
        lines += ["", *_table_lines([[plain(cell) for cell in row] for row in (head, *rows)])]
    return lines


def aligned(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return one indented line per pair, with the first elements in a column."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    return [f"  {name:<{width}}  {text}" for name, text in listed]


def _table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = max(len(row) for row in rows)
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in full) for i in range(columns)]
    return ["  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in full]


def last_lines(path: Path, most: int = OUTPUT_LINES) -> list[str]:
    """Return at most `most` lines from the end of a log, made safe for a terminal; empty if it cannot be read."""
    try:
        with confined.reading(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
            text = redacted(file.read(OUTPUT_BYTES).decode(errors="replace"))
    except OSError as error:
        return [f"(not read: {error.strerror})"] if error.errno in confined.NO_FILE else []
    # A progress bar overwrites its line, so only the text after the last carriage return was visible.
    shown = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [_safe(line) for line in shown if line.strip()][-most:]


def _safe(line: str) -> str:
    return plain(line.expandtabs(4)).rstrip()
