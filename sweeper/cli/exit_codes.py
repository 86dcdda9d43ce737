"""Exit codes."""

OK, FAILED, USAGE, PRUNED, INTERRUPTED = 0, 1, 2, 3, 130
