"""The history of one attempt: what its worker appended, and the metrics that the orchestrator collected about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.record.events import Collected, Event, Metrics
from sweeper.record.storage.journal import JournalReader
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.trial import HistoryEntry


@dataclass(slots=True)
class AttemptHistory:
    """Reads the history of an attempt as it grows.

    Two processes write it, to two files. Collected metrics follow the events that the orchestrator had read by then
    (`Collected.after`), so that every reader gets the same order, which is that of the live run.

    Attributes:
        strict: whether every line must have a checksum.
        late: whether the last `read` returned an entry that belongs before an earlier one: another process read one of
            the files first. The history then has to be read anew.
        firsts: the lowest step of each collected metric.
        lower: whether the last `read` added to `firsts`, or lowered one of them.
    """

    attempt: AttemptDir
    strict: bool = False
    late: bool = False
    firsts: dict[str, int] = field(default_factory=dict)
    lower: bool = False
    journal: JournalReader = field(init=False)
    _collected: int = 0
    _awaited: int = 0

    def __post_init__(self) -> None:
        self.journal = JournalReader(self.attempt.events, strict=self.strict)

    def read(self, collected: Sequence[Collected] = ()) -> list[HistoryEntry]:
        """Return the entries since the last call, in order.

        Args:
            collected: what was appended to `control.jsonl` about this attempt since the last call.
        """
        before = self.journal.count
        events = self.journal.read()
        self.late = any(one.after < before for one in collected) or (bool(events) and before < self._awaited)
        self._awaited = max((self._awaited, *(one.after for one in collected)))
        self._note_firsts(collected)
        return list(self._merged(events, before, collected))

    def _merged(self, events: Sequence[Event], before: int, collected: Sequence[Collected]) -> Iterator[HistoryEntry]:
        number, waiting = self.attempt.number, list(reversed(collected))
        for position, event in enumerate(events, before + 1):
            while waiting and waiting[-1].after < position:
                yield self._entry(waiting.pop())
            yield HistoryEntry(number, position, event)
        while waiting:
            yield self._entry(waiting.pop())

    def _entry(self, one: Collected) -> HistoryEntry:
        self._collected += 1
        event = Metrics(time=one.time, step=one.step, values=one.values)
        return HistoryEntry(self.attempt.number, self._collected, event, collected=True)

    def _note_firsts(self, collected: Sequence[Collected]) -> None:
        before = dict(self.firsts)
        for one in collected:
            for name in one.values:
                self.firsts[name] = min(one.step, self.firsts.get(name, one.step))
        self.lower = self.firsts != before


def without_collected(entries: Iterable[HistoryEntry], firsts: Mapping[str, int]) -> Iterator[HistoryEntry]:
    """Yield the entries without the collected values that a later attempt superseded.

    Args:
        entries: entries of earlier attempts.
        firsts: the first step that the later attempt logged of each metric: earlier attempts lose their values of that
            metric from this step on, as in TensorBoard.
    """
    for entry in entries:
        event = entry.event
        if not (entry.collected and isinstance(event, Metrics)):
            yield entry
            continue
        valid = {name: value for name, value in event.values.items() if event.step < firsts.get(name, event.step + 1)}
        if len(valid) == len(event.values):
            yield entry
        elif valid:
            yield entry._replace(event=replace(event, values=valid))
