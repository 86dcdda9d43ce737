"""How a trial ended, in words: one line, or the whole receipt of `sweeper why`."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sweeper.record.causes import Cause
from sweeper.record.events import Exit
from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.results.health.advice import advice
from sweeper.results.health.timeline import timeline
from sweeper.results.health.trial_health import NOTHING_TRAINED, health_text, unobserved_text
from sweeper.results.markdown import split_evidence
from sweeper.results.snapshot import steps_done
from sweeper.results.wording import brief, counted, decided, duration, number, plain

OUTPUT_LINES = 20
OUTPUT_BYTES = 16_384


def receipt(trial: Trial, siblings: Sequence[Trial] = ()) -> str:
    """State, parameters, attempts, and why it ended as it did; plain text, safe for a terminal.

    Args:
        siblings: the other trials of the sweep, from which advice is drawn.
    """
    facts = trial.facts
    params = {**facts.params, "seed": facts.seed}
    varied = {n: value for n, value in params.items() if n in {*facts.shown, "seed"} or not facts.shown}
    lines = [
        f"trial {facts.number:04d}: {trial.state.value}",
        *aligned([(plain(name), brief(value)) for name, value in varied.items()]),
        "",
        *_attempt_lines(trial),
        *_oddities(trial),
        *(f"note: {plain(note)}" for note in list(dict.fromkeys(trial.progress.notes))[-OUTPUT_LINES:]),
        "",
        *_ENDINGS.get(trial.state, _unended)(trial),
        *_spared(trial),
        *_health(trial, siblings),
        *_advice(trial, siblings),
        *_section("what does not vary:", {n: value for n, value in params.items() if n not in varied}),
    ]
    return "\n".join(lines) + "\n"


def _section(head: str, values: Mapping[str, object]) -> list[str]:
    return ["", head, *aligned([(plain(name), brief(value)) for name, value in values.items()])] if values else []


def end_line(trial: Trial) -> str:
    """How the trial ended, in one line without its number."""
    match trial.state:
        case State.PRUNED:
            decision = _decision(trial)
            return plain(f"pruned by {decided(decision)}: {decision.get('reason', '')}")
        case State.COMPLETE:
            return f"complete after {steps_done(trial)} steps: {_value_text(trial)}"
        case State.FAIL:
            return plain(f"failed after {steps_done(trial)} steps: {failure_of(trial)}")
    return trial.state.value.lower()


def failure_of(trial: Trial) -> str:
    """What a failed trial died of: the error its script reported, else the cause of its end."""
    attempt = trial.control.attempt
    error = next(iter(reversed(_error_of(trial).strip().splitlines())), "")
    if not error:
        return cause_text(trial, attempt) or "unknown"
    cause, ended = trial.cause(attempt), trial.exits.get(attempt)
    details = [cause] if cause not in ("", Cause.ERROR) else []
    details += [_how(ended)] if ended is not None else []
    return f"{error} ({', '.join(details)})" if details else error


def cause_text(trial: Trial, attempt: int) -> str:
    """Why an attempt ended: the cause in one word, and in brackets what that means here; empty where it has none."""
    cause, ended = trial.cause(attempt), trial.exits.get(attempt)
    abandoned = trial.control.abandoned.get(attempt)
    if not cause:
        return ""
    detail = _DETAILS.get(cause, "")
    if abandoned is not None:
        detail = abandoned.reason
    elif cause == Cause.STOPPED and attempt in trial.control.stops:
        detail = ""
    elif cause == Cause.KILLED and ended is not None:
        detail = f"{_how(ended)}, which {'was sent here' if attempt in trial.control.killed else 'nobody here sent'}"
    elif cause in (Cause.ERROR, Cause.NOT_FOUND) and ended is not None:
        detail = ", ".join(filter(None, [detail, _how(ended)]))
    return plain(f"{cause} ({detail})" if detail else cause)


def again_text(trial: Trial) -> str:
    """How a trial is run again whose attempt has ended."""
    if not trial.retry:
        return "it is run again, with its devices to itself" if trial.wants_alone else "it is run again"
    pause = f" in {trial.pause_s:g} s" if trial.pause_s else ""
    return f"it is run again{pause}, retry {trial.retry} of {trial.facts.retry.max}"


_DETAILS: Mapping[str, str] = {
    Cause.LOST: "its processes are gone and nobody saw them end",
    Cause.OOM: "the system ran out of memory and killed it",
    Cause.NOT_FOUND: "the command cannot be started",
    Cause.STOPPED: "by a signal that nobody here sent",
    Cause.CUDA_OOM: "a device had no memory left",
}


def _how(ended: Exit) -> str:
    """How a process ended: ``SIGKILL``, ``exit code 1``."""
    if ended.signal is None:
        return f"exit code {ended.code}"
    try:
        return signal.Signals(ended.signal).name
    except ValueError:
        return f"signal {ended.signal}"


def _error_of(trial: Trial) -> str:
    """The error that the newest attempt's script reported; an attempt that never got so far reported none."""
    return trial.progress.error if trial.progress.attempt in (0, trial.control.attempt) else ""


def value_step(trial: Trial) -> int | None:
    """The step at which the trial's value was measured."""
    series = trial.series
    if series is None:
        return None
    best = series.high_step if trial.facts.maximize else series.low_step
    return series.last_step if trial.facts.at == "last" else best


def _pruned(trial: Trial) -> list[str]:
    decision = _decision(trial)
    lines = [
        f"pruned by {decided(decision, 'the rule {}')}",
        f"  {plain(decision.get('reason', ''))}",
        f"  until then: {_value_text(trial)}",
    ]
    evidence = decision.get("evidence")
    return lines + (_evidence_lines(evidence) if isinstance(evidence, Mapping) else [])


def _health(trial: Trial, siblings: Sequence[Trial]) -> list[str]:
    """The timeline of the diagnoses, what to do about those that hold, and why nothing was observed, if so."""
    if math.isnan(trial.progress.started):
        return []
    lines = timeline(trial, siblings)
    width = max((len(line.when) for line in lines), default=0)
    told = []
    for line in lines:
        told += [f"  {line.when:<{width}}  {line.text}", *(f"    {advice}" for advice in line.advice)]
    unobserved = unobserved_text(trial)
    if unobserved and not any(NOTHING_TRAINED in line.text for line in lines):
        told.append(f"  {unobserved}")
    return ["", f"health: {health_text(trial)}", *told]


def _advice(trial: Trial, siblings: Sequence[Trial]) -> list[str]:
    lines = advice(trial, [trial, *siblings])
    return ["", "its siblings:", *(f"  {line}" for line in lines)] if lines else []


def _spared(trial: Trial) -> list[str]:
    """The decision after which the trial was let run on."""
    spared = trial.control.spared
    if spared is None:
        return []
    decision, evidence = spared.decision, spared.decision.get("evidence")
    lines = [
        "",
        f"condemned by {decided(decision, 'the rule {}')}",
        f"  and let run on ({plain(spared.spared)})",
        f"  {plain(decision.get('reason', ''))}",
    ]
    return lines + (_evidence_lines(evidence) if isinstance(evidence, Mapping) else [])


def _failed(trial: Trial) -> list[str]:
    lines = [f"failed: {plain(failure_of(trial))}"]
    error = _error_of(trial).strip().splitlines()
    if len(error) > 1:
        lines += [f"  {_kept(line)}" for line in error[-OUTPUT_LINES:]]
    tail = last_lines(trial.attempt.output)
    return lines + (["", f"the last lines of {trial.attempt.output}:", *(f"  {line}" for line in tail)] if tail else [])


def _complete(trial: Trial) -> list[str]:
    if math.isnan(trial.progress.started):
        return [*_NOTHING_RECORDED]
    return [f"complete: {_value_text(trial)}, after {steps_done(trial)} steps"]


_NOTHING_RECORDED = """\
complete; only its output was recorded, since it opened no trial. In a training script:

  with sweeper.trial() as trial:                       # after `import sweeper`
      trial.watch(model, optimizer)                    # once, before the loop
      trial.report({"loss/train": loss}, step=step)    # in the loop
""".splitlines()


def _unended(trial: Trial) -> list[str]:
    of = "" if trial.progress.total_steps is None else f" of {trial.progress.total_steps}"
    return [f"{trial.state.value.lower()}: {steps_done(trial)}{of} steps done, {_value_text(trial)}"]


_ENDINGS = {State.PRUNED: _pruned, State.FAIL: _failed, State.COMPLETE: _complete}


def _value_text(trial: Trial) -> str:
    series, metric = trial.series, plain(trial.facts.metric)
    if series is None or trial.value is None:
        others = [f"{plain(name)} {number(other.last)}" for name, other in trial.progress.metrics.items()]
        return ", but ".join(filter(None, [f"{metric or 'the metric'} was not measured", ", ".join(others[:4])]))
    last = f", last {number(series.last)}" if trial.facts.at == "best" else ""
    return f"{trial.facts.at} {metric} {number(trial.value)} at step {value_step(trial)}{last}"


def _decision(trial: Trial) -> Mapping[str, object]:
    stop = trial.control.stop
    return {} if stop is None or stop.decision is None else stop.decision


def _attempt_lines(trial: Trial) -> list[str]:
    lines = []
    for attempt, launched in sorted(trial.control.launched.items()):
        running = "has not ended" if attempt == trial.control.attempt and not trial.exits.get(attempt) else "ended"
        cause = cause_text(trial, attempt) or running
        end = trial.exits.get(attempt) or trial.control.lost.get(attempt)
        span = f" after {duration(end.time - launched.time)}" if end else ""
        ended = trial.exits.get(attempt)
        memory = f", peak memory {ended.peak_memory_mb:.0f} MiB" if ended else ""
        finished = trial.progress.finished.get(attempt)
        peaks = [one.peak_device_mb for one in (finished, ended) if one is not None and one.peak_device_mb is not None]
        if peaks:
            memory += f", {max(peaks):.0f} MiB on the device"
        if attempt in trial.control.measured:
            memory += f", {trial.control.measured[attempt].device_peak_mb:.0f} MiB of the device in all"
        stop = trial.control.stops.get(attempt)
        asked = f", asked to stop ({stop.cause})" if stop else ""
        lines.append(plain(f"attempt {attempt} on {launched.slot}: {cause}{span}{asked}{memory}"))
    return lines or ["no attempt was started"]


def _oddities(trial: Trial) -> list[str]:
    """What a reader of the numbers should know of how they came about."""
    skipped, damaged = trial.progress.skipped, trial.damaged
    were = counted(skipped, "step was", "steps were")
    lines = [f"{were} skipped by the gradient scaler: a gradient was not finite"] if skipped else []
    unread = counted(damaged, "line", "lines")
    return lines + ([f"{unread} of the record could not be read: torn, or edited"] if damaged else [])


def _evidence_lines(evidence: Mapping[str, object]) -> list[str]:
    single, listed = split_evidence(evidence)
    lines = ["", "evidence:", *aligned([(plain(name), text) for name, text in single])]
    for head, rows in listed:
        lines += ["", *_table_lines([[plain(cell) for cell in row] for row in (head, *rows)])]
    return lines


def aligned(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """A line a pair, indented, what the first names in a column."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    return [f"  {name:<{width}}  {text}" for name, text in listed]


def _table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = max(len(row) for row in rows)
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in full) for i in range(columns)]
    return ["  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in full]


def last_lines(path: Path, most: int = OUTPUT_LINES) -> list[str]:
    """At most so many lines from the end of a log, its escapes made visible."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - OUTPUT_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    # A progress bar overwrites its line: what counts is what stood there last.
    shown = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [_kept(line) for line in shown if line.strip()][-most:]


def _kept(line: str) -> str:
    return plain(line.expandtabs(4)).rstrip()
