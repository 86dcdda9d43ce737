"""One typed view of runs, and the commands to them: what the command line, a page and an agent's tools have in common.

Queries (`service.Service`, `open_run.OpenRun`) are pure over the record, and commands (`commands`) leave files in the
inbox of a run. An answer is a frozen dataclass of `answers`; `answers.encoding` makes its JSON, `schema` the JSON
Schema of all of them. Nothing here draws, prints or listens.
"""
