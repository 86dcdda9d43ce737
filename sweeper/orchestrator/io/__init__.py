"""How the orchestrator hears from the outside and reports to it: file events, signals, user commands, notifications."""
