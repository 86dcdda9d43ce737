"""Rules and pruners over recorded runs: what they would have stopped, what that would have saved, and what it cost."""

from __future__ import annotations

from sweeper.backtest.case import Case, Recording, Truth
from sweeper.backtest.reading import read_recording, read_recordings
from sweeper.backtest.replay import arms
from sweeper.backtest.report import Report, backtest, to_json

__all__ = ["Case", "Recording", "Report", "Truth", "arms", "backtest", "read_recording", "read_recordings", "to_json"]
