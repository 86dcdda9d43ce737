"""Slots of this machine: how it is divided, and how all sweeps of a user share it."""
