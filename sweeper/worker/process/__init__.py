"""The processes of an attempt: the shim, the preload server that forks workers, and the programs that they run."""
