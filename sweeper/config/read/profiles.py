"""Profiles: variants of a sweep for different machines, declared in its file. Choose one, and merge it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from sweeper.config.read.node import Complaint, Node, found, grafted, plain
from sweeper.mistakes import IN_FILE, STRICT, one_of, suggested

CHOSEN_KEYS = ("profile", "profile_description", "nesting")
"""Keys of the resolved spec for the chosen profile, and for the groups of parameters. No file may set them."""

MOST_PROFILES = 32
"""Maximum number of profiles. Each one is checked as a whole sweep, which takes time."""


class When(StrEnum):
    """The machines for which a profile is chosen automatically: with a CUDA device, or without one."""

    CUDA = "cuda"
    CPU = "cpu"


class Profile(BaseModel):
    """The keys of a profile. Values that replace parts of the sweep are checked after the profile is merged."""

    model_config = STRICT
    when: Annotated[When, Field(strict=False)] | None = None
    description: str = ""
    parameters: Mapping[str, object] = {}
    start_with: object = None
    learn_from: object = None
    seeds: object = None
    run_cap: object = None
    budget: object = None
    dataset: object = None
    tokenizer: object = None
    early_stop: object = None
    on_spike: object = None
    executor: object = None
    resources: object = None
    checkpoint: object = None
    retry: object = None
    launch: object = None
    hang_after_s: object = None
    output_limit_mb: object = None
    figures: object = None


OWN_KEYS = ("when", "description")
"""Keys that describe the profile itself."""


def chosen(profiles: Mapping[str, Node], name: str | None, *, has_cuda: bool) -> str | None:
    """Return the profile to use: `name` if it exists, otherwise the first profile for this machine, otherwise None."""
    if name is not None:
        return name if name in profiles else None
    machine = When.CUDA if has_cuda else When.CPU
    return next((name for name, node in profiles.items() if _when(node) == machine), None)


def _when(profile: Node) -> object:
    when = found(profile, "when")
    return plain(when) if when else None


def complaints_about_choice(profiles: Mapping[str, Node], name: str | None) -> Iterator[Complaint]:
    """Complain if the requested profile does not exist."""
    if name is None or name in profiles:
        return
    expected = f"one of {one_of(profiles, name, IN_FILE)}" if profiles else "no profile, because the file declares none"
    yield Complaint(path=(), expected=expected, got=repr(name), hint=suggested(name, profiles))


def merged(base: Node, profile: Node) -> Node:
    """Return the sweep with the profile's keys instead of its own. A parameter is replaced as a whole."""
    for key, node in profile.children().items():
        if key == "parameters":
            for name, parameter in node.children().items():
                base = grafted(base, (key, name), parameter)
        elif key in Profile.model_fields and key not in OWN_KEYS:
            base = grafted(base, (key,), node)
    return base
