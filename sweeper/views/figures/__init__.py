"""Pictures of a trial: gradients and update ratios by tensor, and the depth map over time."""
