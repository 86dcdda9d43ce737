"""The decision to stop a trial: made by a rule or a person, and kept with its reason and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

PERSON = "a person"
"""The `rule` of a decision that a person made."""

CONVERGED = "converged"
"""The rule, and the cause of a stop, where nothing is left to gain (`early_stop.stop_when`): the trial is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision to stop a trial: the rule, the optimizer step, the reason in one sentence, and the evidence.

    `version` identifies the rule and its settings (`audit.rule_version`); outcomes are pooled by version.

    Raises:
        ValueError: the reason or the evidence is empty.
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

    @property
    def by_person(self) -> bool:
        """Whether a person made the decision."""
        return self.rule == PERSON

    @classmethod
    def read(cls, value: object) -> Self:
        """Return the decision in a record. Values that are missing or have the wrong type, as after an edit, are empty.

        Raises:
            TypeError: the value is not a mapping.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a decision, got {value!r}")
        decision = object.__new__(cls)  # the constructor refuses a decision without a reason
        for name, (kind, empty) in _READ.items():
            given = value.get(name)
            object.__setattr__(decision, name, given if isinstance(given, kind) else empty)
        return decision

    def to_json(self) -> dict[str, object]:
        """Return the decision as a JSON object."""
        return asdict(self)


_READ: Mapping[str, tuple[type, object]] = {
    "rule": (str, "?"),
    "step": (int, -1),
    "reason": (str, ""),
    "evidence": (Mapping, {}),
    "version": (str, ""),
}
"""The type of each field, and its value where a record has none."""
