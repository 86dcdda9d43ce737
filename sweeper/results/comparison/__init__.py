"""Comparisons: of configurations over seeds, of sweeps, and of a trial with its reproduction."""
