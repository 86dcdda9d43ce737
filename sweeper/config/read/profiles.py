"""Variants of a sweep for different machines, declared in its file: which one is chosen, and what it replaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from sweeper.config.read.node import Complaint, Node, found, grafted, plain
from sweeper.mistakes import STRICT, listed, suggested

CHOSEN_KEYS = ("profile", "profile_description")
"""Keys of the resolved spec that say what was chosen, and that no file may set."""

MOST_PROFILES = 32
"""Each is checked as a whole sweep."""


class When(StrEnum):
    """The machines that choose a profile by themselves."""

    CUDA = "cuda"
    CPU = "cpu"


class Profile(BaseModel):
    """The keys of a profile. What replaces a part of the sweep is checked there, once it is merged."""

    model_config = STRICT
    when: Annotated[When, Field(strict=False)] | None = None
    description: str = ""
    parameters: Mapping[str, object] = {}
    seeds: object = None
    run_cap: object = None
    budget: object = None
    dataset: object = None
    tokenizer: object = None
    early_stop: object = None
    executor: object = None
    resources: object = None
    checkpoint: object = None
    retry: object = None
    launch: object = None
    hang_after_s: object = None
    figures: object = None


OWN_KEYS = ("when", "description")
"""What a profile says about itself."""


def chosen(profiles: Mapping[str, Node], name: str | None, *, has_cuda: bool) -> str | None:
    """The name asked for, where there is one such; else the first profile for this machine; else None."""
    if name is not None:
        return name if name in profiles else None
    machine = When.CUDA if has_cuda else When.CPU
    return next((name for name, node in profiles.items() if _when(node) == machine), None)


def _when(profile: Node) -> object:
    when = found(profile, "when")
    return plain(when) if when else None


def complaints_about_choice(profiles: Mapping[str, Node], name: str | None) -> Iterator[Complaint]:
    """Why the profile asked for cannot be had."""
    if name is None or name in profiles:
        return
    expected = f"one of {listed(profiles)}" if profiles else "no profile, since the file declares none"
    yield Complaint(path=(), expected=expected, got=repr(name), hint=suggested(name, profiles))


def merged(base: Node, profile: Node) -> Node:
    """The sweep with the profile's keys in place of its own; a named parameter is replaced as a whole."""
    for key, node in profile.children().items():
        if key == "parameters":
            for name, parameter in node.children().items():
                base = grafted(base, (key, name), parameter)
        elif key in Profile.model_fields and key not in OWN_KEYS:
            base = grafted(base, (key,), node)
    return base
