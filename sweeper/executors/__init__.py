"""Executors start trials on slots and report whether they are alive. How a trial ended comes from its record."""
