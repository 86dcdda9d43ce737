"""Tools for agents: `sweeper mcp` serves them by the Model Context Protocol, over the service that every face has.

Answers are short (`answers`, `short`), and what strangers wrote in them is marked as data (`text`). Commands need a
reason, are on the record with the name of the agent, and keep to budgets that it cannot raise (`budget`). The module of
the protocol is `server`; it alone imports the official SDK, of the extra `agent`.
"""
