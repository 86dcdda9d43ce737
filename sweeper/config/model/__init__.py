"""The resolved sweep: a `SweepSpec` and its parts."""
