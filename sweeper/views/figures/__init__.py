"""Figures of a trial: gradients and updates by tensor, and the depth profile over time."""
