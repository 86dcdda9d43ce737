"""The Ray executor: Ray places and carries, the record comes back byte by byte."""
