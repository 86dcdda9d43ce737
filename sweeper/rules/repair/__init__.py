"""Repairs: with which change a failed trial is tried again; pure functions."""
