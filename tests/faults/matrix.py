"""The fault matrix: every fault there is, and at which moments each is tried."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults import processes, records, signalled, surroundings
from tests.faults.harness import Fault

FAULTS: Sequence[Fault] = sorted(
    [*processes.FAULTS, *signalled.FAULTS, *records.FAULTS, *surroundings.FAULTS],
    key=lambda fault: fault.row,
)
BY_NAME = {fault.name: fault for fault in FAULTS}
MOMENTS, MOMENTS_OF_A_ROW, SLOW_MOMENTS_OF_A_ROW = 5, 100, 20
"""Of a row: in the ordinary tests, and by `make faults`, of what is quick and of what takes more than 20 seconds."""


def of_row(row: int, *, slow: bool = False) -> list[Fault]:
    """The faults of a row that are tried at random moments: the quick ones, or the slow ones."""
    return [fault for fault in FAULTS if fault.row == row and fault.slow is slow and not fault.exhaustive]


def seeds_of(fault: Fault, moments: int = MOMENTS_OF_A_ROW, slow: int = SLOW_MOMENTS_OF_A_ROW) -> range:
    """The seeds of a fault, so that its row has so many moments and each of its faults as many."""
    if fault.exhaustive:
        return range(1)
    share = len(of_row(fault.row, slow=fault.slow))
    # Even, so that both launches get as many.
    return range(2 * -(-(slow if fault.slow else moments) // (2 * share)))


def moments(row: int, *, slow: bool = False) -> list[tuple[Fault, int]]:
    """A few moments for the ordinary tests, of the faults of a row in turn; of those that take long one moment each."""
    faults = of_row(row, slow=slow)
    count = len(faults) if slow else max(MOMENTS, len(faults))
    # Seeds that alternate from fault to fault too: the launch goes by the seed.
    return [(faults[i % len(faults)], i // len(faults) + i % len(faults)) for i in range(count)]


def name_of(value: object) -> str:
    """A fault's name, for the name of a test."""
    return value.name if isinstance(value, Fault) else str(value)
