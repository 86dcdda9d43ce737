"""Commands that set up a sweep: `init`, `check`, `plan`, `schema`, `doctor`, `completion`."""
