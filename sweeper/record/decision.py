"""The decision to stop a trial: made by a rule or a person, and kept with its reason and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

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
        """Return the decision in a record. Keys that are missing, as in edited records, are empty.

        Raises:
            TypeError: the value is not a mapping, or a key has the wrong type.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a decision, got {value!r}")
        known: dict[str, Any] = {**_EMPTY, **{name: value[name] for name in _NAMES if name in value}}
        for name, kind in _TYPES.items():
            if not isinstance(known[name], kind):
                raise TypeError(f"expected {kind.__name__} for {name} of a decision, got {known[name]!r}")
        decision = object.__new__(cls)  # the constructor refuses a decision without a reason
        for name in _NAMES:
            object.__setattr__(decision, name, known[name])
        return decision

    def to_json(self) -> dict[str, object]:
        """Return the decision as a JSON object."""
        return asdict(self)


_NAMES = tuple(item.name for item in fields(Decision))
_EMPTY: Mapping[str, object] = {"rule": "?", "step": -1, "reason": "", "evidence": {}, "version": ""}
_TYPES: Mapping[str, type] = {"rule": str, "step": int, "reason": str, "evidence": Mapping, "version": str}
