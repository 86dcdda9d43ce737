"""Commands that judge rules on recorded runs: `backtest`, `calibrate`."""
