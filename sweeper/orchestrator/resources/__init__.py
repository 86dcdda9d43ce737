"""Manage what a running sweep uses: slots, its budget, and disk space for checkpoints."""
