"""What a running sweep may use: slots, budget, and disk space for checkpoints."""
