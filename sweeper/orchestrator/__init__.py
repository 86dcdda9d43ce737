"""Run a sweep: one process reads the records, asks rules and search, plans, writes to the record, and acts."""
