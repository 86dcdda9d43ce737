"""Benchmarks. A package, because wheels of other projects install one of the same name."""
