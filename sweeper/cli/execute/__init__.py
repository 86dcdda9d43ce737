"""Commands that run trials: `run`, `exec`, `reproduce`."""
