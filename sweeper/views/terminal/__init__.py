"""The terminal: the live table and its keys, plain progress lines, and the output of `sweeper exec`."""
