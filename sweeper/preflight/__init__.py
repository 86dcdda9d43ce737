"""Prepare a sweep: check the machine, write a first sweep file, summarise and estimate a sweep, record its origin."""
