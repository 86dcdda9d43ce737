"""The one process that decides: it reads the records, asks rules and search, plans, writes down, and acts."""
