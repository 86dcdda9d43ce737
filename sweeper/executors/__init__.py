"""Executors place trials on slots and say whether they live; outcomes come from the record."""
