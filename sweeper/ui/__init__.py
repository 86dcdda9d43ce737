"""`sweeper ui`: a local web page over the service. It reads records, and leaves commands in the inbox of a run."""
