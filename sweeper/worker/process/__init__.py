"""The processes of an attempt: the shim, the preloaded server that forks workers, and the program that they run."""
