"""What sweeper adds to an unmodified script in its worker process: metrics that the script logs with libraries."""
