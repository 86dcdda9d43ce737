"""The record: what a sweep wrote to disk, and the pure functions that read it. Standard library only."""
