"""Check a sweep: keys that must agree, the signature of a trainer function, and changes to an existing run."""
