"""The Slurm executor: one job per attempt."""
