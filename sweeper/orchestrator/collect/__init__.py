"""Read metrics from what a script writes or prints without reporting it (`metrics` in the sweep file)."""
