"""The texts that TensorBoard shows: markdown in which nobody else's text has a meaning of its own; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from sweeper.record.events import PERSON
from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.wording import brief, decided, number, plain

# Anything that begins a construct of markdown or HTML in the middle of a line; lines never begin with such text.
_ACTIVE = frozenset("\\`*_{}[]<>&|~#\"'")
LONGEST_CELL = 500
PACKAGES_TOLD = ("torch", "transformers", "tokenizers", "safetensors", "scikit-learn", "numpy", "optuna", "sweeper")


def escaped(text: object) -> str:
    """Text that shows as itself: active characters become numeric entities, which markdown passes through."""
    return "".join(f"&#{ord(char)};" if char in _ACTIVE else char for char in plain(text))


def code_block(text: str) -> str:
    """Text in a code block; its fence is longer than any run of backticks in the text, so nothing can close it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join("".join(c if c == "\t" else plain(c) for c in line) for line in text.splitlines())
    return f"{fence}\n{lines}\n{fence}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells are text, not markdown."""
    lines = [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def trial_text(trial: Trial, provenance: Mapping[str, object]) -> str:
    """What a trial is: parameters, seed, command, and where it comes from."""
    facts = trial.facts
    rows: list[tuple[str, object]] = [
        ("trial", f"{facts.number:04d}"),
        ("configuration", facts.configuration),
        ("seed", facts.seed),
    ]
    rows += [(name, brief(value)) for name, value in redacted_values(facts.params).items()]
    parts = [table(("parameter", "value"), rows)]
    told = [(name, _told(name, value)) for name, value in redacted_values(provenance).items()]
    if any(text for _, text in told):
        parts.append(table(("provenance", ""), [(name, text) for name, text in told if text]))
    parts += ["command\n", code_block(redacted(" ".join(str(part) for part in facts.command)))]
    return "\n".join(parts)


def _told(name: str, value: object) -> str:
    """A part of the provenance in short; the whole stands in `spec.json`."""
    if name == "difference" and isinstance(value, str):
        return f"{len(value.splitlines())} lines, in spec.json" if value else ""
    if name == "packages" and isinstance(value, Mapping):
        return brief({package: value[package] for package in PACKAGES_TOLD if package in value} or value)
    return brief(value)


def verdict_text(trial: Trial) -> str | None:
    """Why a rule decided against a trial, and what came of it; None where none did."""
    stop, spared = trial.control.stop, trial.control.spared
    if spared is not None:
        decision, head = spared.decision, f"Condemned, and let run on ({escaped(spared.spared)}),"
    elif trial.state is State.PRUNED and stop is not None and stop.decision is not None:
        decision, head = stop.decision, "Pruned"
    else:
        return None
    rule, step = escaped(decision.get("rule", "?")), escaped(decision.get("step", "?"))
    by = decided(decision) if rule == PERSON else f"rule **{rule}** at step **{step}**"
    parts = [f"{head} by {by}.\n", f"Reason: {escaped(decision.get('reason', ''))}\n"]
    evidence = decision.get("evidence")
    if isinstance(evidence, Mapping) and evidence:
        parts += evidence_tables(evidence)
    return "\n".join(parts)


def evidence_tables(evidence: Mapping[str, object]) -> list[str]:
    """The values a decision was made from: one table of the single ones, one for each list of rows."""
    single, listed = split_evidence(evidence)
    parts = [table(("evidence", "value"), single)] if single else []
    return parts + [table(head, rows) for head, rows in listed]


Listed = tuple[Sequence[str], Sequence[Sequence[str]]]


def split_evidence(evidence: Mapping[str, object]) -> tuple[list[tuple[str, str]], list[Listed]]:
    """Single values by name; and the lists of ``[step, value]`` rows, each with its column heads."""
    single: list[tuple[str, str]] = []
    listed: list[Listed] = []
    statistic = str(evidence.get("statistic", "value"))
    for name, value in evidence.items():
        if _is_rows(value):
            width = max(len(row) for row in value)  # type: ignore[attr-defined]  # _is_rows has looked
            head = [f"{name}: step", statistic, *(str(i) for i in range(3, width + 1))][:width]
            listed.append((head, [[_cell(cell) for cell in row] for row in value]))  # type: ignore[attr-defined]
        else:
            single.append((name, _cell(value)))
    return single, listed


def _is_rows(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    return all(isinstance(row, Sequence) and not isinstance(row, str) and row for row in value)


def _cell(value: object) -> str:
    return number(value) if isinstance(value, float) else brief(value)


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(escaped(str(cell)[:LONGEST_CELL]) for cell in cells) + " |"
