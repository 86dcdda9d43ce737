"""The terminal: the live table, its keys, and the output of `sweeper exec`."""
