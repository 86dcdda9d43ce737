"""Replay of rules and pruners on recorded runs: which trials they would have stopped, and how many steps that saves."""

from __future__ import annotations

from sweeper.backtest.case import Case, Recording, Truth
from sweeper.backtest.reading import read_recording, read_recordings
from sweeper.backtest.replay import arms
from sweeper.backtest.report import BacktestReport, backtest, to_json

__all__ = [
    "BacktestReport",
    "Case",
    "Recording",
    "Truth",
    "arms",
    "backtest",
    "read_recording",
    "read_recordings",
    "to_json",
]
