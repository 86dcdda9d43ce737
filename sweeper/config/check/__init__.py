"""Check a sweep: rules about several keys, the signature of a trainer function, and changes to an existing run."""
