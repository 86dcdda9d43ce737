"""Check `resume_args`: that it has a path to look for, and a command that gets the arguments."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.config.model.macros import complaints_about_values
from sweeper.config.model.resume import EXAMPLE, path_in
from sweeper.config.read.node import Complaint, Node, Path, found, plain
from sweeper.mistakes import shown

KEY, PLACE = "resume_args", "${resume_args}"


def complaints_about_resuming(root: Node) -> Iterator[Complaint]:
    """Find arguments to resume that could not be used, and a place in the command that no arguments are for."""
    given = _data(root, KEY)
    if given is None:
        command = _data(root, "command")
        if isinstance(command, list) and PLACE in command:
            expected, hint = f"the key {KEY} for {PLACE}", f"write resume_args: {EXAMPLE}"
            index = command.index(PLACE)
            yield Complaint(path=("command", index), expected=expected, got="no such key", hint=hint)
        return
    args, if_exists = (given.get("args"), given.get("if_exists")) if isinstance(given, dict) else (given, None)
    path: Path = (KEY, "args") if isinstance(given, dict) else (KEY,)
    yield from complaints_about_values(args, path)
    yield from complaints_about_values(if_exists, (KEY, "if_exists"))
    if _data(root, "trainer") is not None:
        expected, hint = "the key only with command or program", "a trainer resumes by trial.restore()"
        yield Complaint(path=(KEY,), expected=expected, got="a trainer", hint=hint)
    words = [word for word in args if isinstance(word, str)] if isinstance(args, list) else []
    if words and not if_exists and not path_in(words):
        expected = "an argument with the path of the trial's checkpoint, which contains ${trial:dir}"
        hint = f'for example {EXAMPLE}, or {{args: [...], if_exists: "${{trial:dir}}/last.pt"}}'
        yield Complaint(path=path, expected=expected, got=shown(words), hint=hint)


def _data(root: Node, key: str) -> object:
    node = found(root, key)
    return plain(node) if node else None
