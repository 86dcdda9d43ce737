"""What a sweep's command would run: whether it is there, what it needs, and how it gets its parameters."""
