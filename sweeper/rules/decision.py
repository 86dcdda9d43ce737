"""What a rule decides, and what a rule is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sweeper.record.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A trial is condemned: by which rule, at which step, why in one sentence, and on what evidence.

    `version` is that of the rule and its settings (`audit.rule_version`), by which outcomes are pooled.

    Raises:
        ValueError: the reason or the evidence is empty; a verdict without one is none.
    """

    rule: str
    step: int
    reason: str
    evidence: Mapping[str, object]
    version: str = ""

    def __post_init__(self) -> None:
        if not self.reason or not self.evidence:
            message = f"a decision of {self.rule} needs a reason and evidence"
            raise ValueError(message)

    def to_json(self) -> dict[str, object]:
        """The decision as it stands in `StopRequested.decision`."""
        return asdict(self)


class Rule(Protocol):
    """A reducer over one trial's history. It does no I/O and reads no clock: live and replayed verdicts are equal.

    A rule's state is its own affair; nobody else looks into it.
    """

    @property
    def name(self) -> str:
        """The rule's name in a sweep file."""

    def start(self) -> Any:  # noqa: ANN401 - each rule has a state of its own
        """The state before the first event."""

    def step(self, state: Any, event: Event) -> tuple[Any, Decision | None]:  # noqa: ANN401 - as above
        """The state after one more event, and the decision it leads to; None means: go on."""


def first_decision(rule: Rule, history: Iterable[Event]) -> Decision | None:
    """What a rule decides on a recorded history: its first decision, None where it lets the trial run."""
    state = rule.start()
    for event in history:
        state, decision = rule.step(state, event)
        if decision is not None:
            return decision
    return None
