"""The Slurm executor: one job for each attempt."""
