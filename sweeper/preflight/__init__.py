"""What can be known before a sweep starts: the state of the machine, the plan, estimates, a first sweep file."""
