"""Input and output of the orchestrator: inotify, signals, user commands, notifications, and the views process."""
