"""Comparisons: of configurations over seeds, of sweeps, of a trial and its repetition."""
