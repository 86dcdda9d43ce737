"""The markdown texts that TensorBoard shows, with all text of users escaped; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.evidence import split_evidence
from sweeper.results.health.timeline import TimelineEntry, timeline
from sweeper.results.lineage import derivation_text
from sweeper.results.wording import brief, decided_by, plain, why_continued

# All characters that can begin a markdown or HTML construct within a line; escaped text never starts a line.
_ACTIVE = frozenset("\\`*_{}[]<>&|~#\"'")
LONGEST_CELL = 500
PACKAGES_SHOWN = ("torch", "transformers", "tokenizers", "safetensors", "scikit-learn", "numpy", "optuna", "sweeper")


def escaped(text: object) -> str:
    """Return text that is shown literally: special characters become numeric entities, which markdown passes on."""
    return "".join(f"&#{ord(char)};" if char in _ACTIVE else char for char in plain(text))


def code_block(text: str) -> str:
    """Return text in a code block, with a fence longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join("".join(c if c == "\t" else plain(c) for c in line) for line in text.splitlines())
    return f"{fence}\n{lines}\n{fence}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are text, not markdown."""
    lines = [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def trial_text(trial: TrialRecord, provenance: Mapping[str, object]) -> str:
    """Return the description of a trial: parameters, seed, provenance and command."""
    facts = trial.facts
    rows: list[tuple[str, object]] = [("trial", f"{facts.number:04d}")]
    rows += [("configuration", facts.configuration)] if facts.is_searched else []
    rows += [("this trial is", derivation_text(facts.derived))] if facts.derived is not None else []
    rows += [("seed", facts.seed)]
    rows += [(name, brief(value)) for name, value in redacted_values(facts.params).items()]
    parts = [table(("parameter", "value"), rows)]
    origin = [(name, _short(name, value)) for name, value in redacted_values(provenance).items()]
    if any(text for _, text in origin):
        parts.append(table(("provenance", ""), [(name, text) for name, text in origin if text]))
    parts += ["command\n", code_block(redacted(" ".join(str(part) for part in facts.command)))]
    return "\n".join(parts)


def _short(name: str, value: object) -> str:
    """Return a part of the provenance, shortened; all of it is in `spec.json`."""
    if name == "difference" and isinstance(value, str):
        return f"{len(value.splitlines())} lines, in spec.json" if value else ""
    if name == "packages" and isinstance(value, Mapping):
        return brief({package: value[package] for package in PACKAGES_SHOWN if package in value} or value)
    return brief(value)


def decision_text(trial: TrialRecord) -> str | None:
    """Return why the trial was stopped early, or flagged but continued, with the evidence; None for neither."""
    stop, continued = trial.newest.stop, trial.continued
    if continued is not None:
        decision, head = continued.decision, "Flagged"
        tail = f", but continued ({escaped(why_continued(continued.cause))})"
    elif trial.state is State.PRUNED and stop is not None and stop.decision is not None:
        decision, head, tail = stop.decision, "Stopped early", ""
    else:
        return None
    rule = f"rule **{escaped(decision.rule)}** at step **{decision.step}**"
    by = decided_by(decision) if decision.by_person else rule
    parts = [f"{head} by {by}{tail}.\n", f"Reason: {escaped(decision.reason)}\n"]
    if decision.evidence:
        parts += evidence_tables(decision.evidence)
    return "\n".join(parts)


def timeline_markdown(trial: TrialRecord) -> str:
    """Return the timeline as a list: in a table of TensorBoard, a narrow column breaks within its words."""
    return "\n".join(_entry(line) for line in timeline(trial)) + "\n"


def _entry(line: TimelineEntry) -> str:
    when, *texts = (escaped(text[:LONGEST_CELL]) for text in (line.when, line.text, *line.advice))
    return "\n".join([f"- **{when}** {texts[0]}", *(f"    - {text}" for text in texts[1:])])


def evidence_tables(evidence: Mapping[str, object]) -> list[str]:
    """Return the evidence of a decision: a table of the single values, and a table for each list of rows."""
    single, listed = split_evidence(evidence)
    parts = [table(("evidence", "value"), single)] if single else []
    return parts + [table(head, rows) for head, rows in listed]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(escaped(str(cell)[:LONGEST_CELL]) for cell in cells) + " |"
