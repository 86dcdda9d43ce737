"""Load a sweep file as a `SweepSpec`, or report all of its mistakes at once.

1. The file is checked as it would run, with the chosen profile and the overrides. Mistakes in other profiles are
   reported too.
2. The result depends on the file and the arguments only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sweeper.config.check.consistency import Trainers, complaints
from sweeper.config.check.outputs import warnings_about_outputs
from sweeper.config.check.signatures import Functions, complaints_about_call
from sweeper.config.check.unknown import warnings_about_unknown_macros
from sweeper.config.model.conditions import grid_size
from sweeper.config.model.sweep import Method, SweepSpec
from sweeper.config.read.nested import nesting_of, without_groups, without_templates
from sweeper.config.read.node import Complaint, Node, Remark, found, located, noted, plain, without
from sweeper.config.read.overrides import Overriding, declared_parameters, hyperparameters, split
from sweeper.config.read.profiles import CHOSEN_KEYS, MOST_PROFILES, Profile, chosen, complaints_about_choice, merged
from sweeper.config.read.validation import mistakes_in
from sweeper.config.read.wandb import completed, translated
from sweeper.config.read.yaml_1_1 import note_of_yaml_1_1
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.errors import Mistake, SpecError, UsageError
from sweeper.mistakes import printable, shown

MOST_BYTES = 1_000_000
"""Maximum size of a sweep file."""
MOST_TRIALS = 10_000
"""Maximum number of trials in a grid."""

Inspect: TypeAlias = Callable[[SweepSpec, frozenset[str]], Iterable[Complaint | Remark]]
"""Looks at what a sweep runs. It gets the sweep, and the keys that its file has."""


def load(  # noqa: PLR0913 - all by name
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    profile: str | None = None,
    has_cuda: bool,
    trainers: Trainers,
    functions: Functions | None = None,
    named: Callable[[str], str] = lambda name: name,
    inspect: Inspect | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> SweepSpec:
    """Load a sweep from its file, with a profile and overrides.

    Args:
        path: the sweep file, as it should appear in messages.
        overrides: ``KEY=VALUE`` arguments. They override profiles, and later ones override earlier ones.
        profile: the name of the profile; by default, the first one with a ``when`` that matches the machine.
        has_cuda: whether the machine has a CUDA device.
        trainers: built-in trainers by name, each with its hyperparameters and their defaults.
        functions: returns the signature of a trainer function by name. Without it, functions are not checked.
        named: returns the name of a sweep that has none of its own, given one made from its file.
        inspect: finds mistakes, and what to warn of, in what the command runs. Without it, only the file is read.
        say: receives one line for each W&B key that was translated, each default that was filled in, and each path that
            all trials would write to, and one for the values that YAML 1.1 reads otherwise.

    Raises:
        SpecError: the sweep has mistakes. The error has all of them, in the order of their lines.
        UsageError: the file does not exist, or cannot be read.

    Example:
        ``load("sweep.yaml", overrides=["lr=1e-4"], has_cuda=False, trainers={})``
    """
    source = printable(str(path))
    text = text_of(path, "a sweep file")
    root, mistakes = parsed(text, TextSource(source))
    root = without_templates(root)
    if not isinstance(root.value, dict):
        raise SpecError([*mistakes, _not_a_sweep(root)])
    translation = translated(without_groups(root))
    mistakes += (located(root, complaint) for complaint in translation.complaints)
    draft = _Draft.of(translation.root, trainers)
    choice = chosen(draft.profiles, profile, has_cuda=has_cuda)
    resolved, override_mistakes = draft.resolved(choice, overrides)
    mistakes += override_mistakes
    filled = completed(resolved, source, named)
    resolved = filled.root
    mistakes += _choice_mistakes(draft, profile)
    mistakes += mistakes_of(resolved, trainers)
    if functions is not None:
        mistakes += (located(resolved, complaint) for complaint in complaints_about_call(resolved, functions))
    mistakes += draft.mistakes_of_profiles(choice)
    if mistakes:
        raise SpecError(ordered(mistakes, source))
    spec = _spec(resolved, draft.profiles, choice, nesting_of(root))
    if (too_many := _too_many(spec)) is not None:
        raise SpecError([located(resolved, too_many)])
    yaml_1_1 = note_of_yaml_1_1(text, TextSource(source))
    findings = [] if inspect is None else list(inspect(spec, frozenset(draft.root.children())))
    if wrong := [located(resolved, one) for one in findings if isinstance(one, Complaint)]:
        raise SpecError(ordered(wrong, source))
    for note in (
        *filter(None, [yaml_1_1]),
        *(*translation.notes, *filled.notes),
        *(*warnings_about_unknown_macros(resolved, spec), *warnings_about_outputs(resolved, spec)),
        *(noted(resolved, one) for one in findings if isinstance(one, Remark)),
    ):
        say(note)
    return spec


def text_of(path: str | Path, what: str) -> str:
    """Return the text of a file. `what` is its kind for messages, such as ``a sweep file``.

    Raises:
        SpecError: the file is too large, or not UTF-8.
        UsageError: the file does not exist, or cannot be read.
    """
    source = printable(str(path))
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except IsADirectoryError:
        raise UsageError(f"{source}: expected {what}, got a directory") from None
    except FileNotFoundError:
        raise UsageError(f"{source}: expected {what}, but there is no such file") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{source}: expected {what}, but it cannot be read: {error}") from None
    if len(raw) > MOST_BYTES:
        got = "a larger file"
        raise SpecError([Mistake(where=source, key="", expected=f"at most {MOST_BYTES:,} bytes", got=got)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = TextSource(source).where(raw[: error.start].count(b"\n"))
        raise SpecError([Mistake(where=where, key="", expected="UTF-8 text", got=f"{raw[error.start]:#04x}")]) from None


def _not_a_sweep(root: Node) -> Mistake:
    got = "nothing" if root.value is None else shown(plain(root))
    return Mistake(where=root.where, key="", expected="a mapping with the keys of a sweep", got=got)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """The file before a profile is chosen: the sweep without its profiles, and the profiles by name."""

    root: Node
    base: Node
    profiles: dict[str, Node]
    trainers: Trainers

    @classmethod
    def of(cls, root: Node, trainers: Trainers) -> _Draft:
        profiles = root.child("profiles")
        return cls(
            root=root,
            base=without(root, ("profiles", *CHOSEN_KEYS)),
            profiles=dict(profiles.children()) if profiles else {},
            trainers=trainers,
        )

    def resolved(self, choice: str | None, arguments: Sequence[str]) -> tuple[Node, list[Mistake]]:
        """Return the sweep with the profile and the overrides applied, and the mistakes in the overrides."""
        sweep = merged(self.base, self.profiles[choice]) if choice is not None else self.base
        overrides, mistakes = split(arguments)
        # The trainer is overridden first, because it determines the names of the hyperparameters.
        named = [override for override in overrides if override.key == "trainer"]
        overriding = Overriding(known={}, declared=declared_parameters(self.root), mistakes=mistakes)
        for override in named:
            sweep = overriding.apply(sweep, override)
        overriding.known = hyperparameters(sweep, self.trainers)
        for override in overrides:
            sweep = sweep if override in named else overriding.apply(sweep, override)
        return sweep, overriding.mistakes

    def mistakes_of_profiles(self, choice: str | None) -> Iterator[Mistake]:
        """Find mistakes in the profiles themselves, and in the sweeps that the profiles not chosen would make."""
        yield from (located(self.root, complaint) for complaint in self._shape())
        for name, profile in self.profiles.items():
            yield from mistakes_in(profile, Profile)
            if name != choice:
                own = f"profiles.{printable(name)}."
                merged_mistakes = mistakes_of(merged(self.base, profile), self.trainers)
                yield from (mistake for mistake in merged_mistakes if mistake.key.startswith(own))

    def _shape(self) -> Iterator[Complaint]:
        for key in CHOSEN_KEYS:
            if self.root.child(key):
                hint = "choose a profile with --profile NAME" if key.startswith("profile") else ""
                yield Complaint(path=(key,), expected="a key of the sweep", got="one that sweeper sets", hint=hint)
        profiles = self.root.child("profiles")
        if profiles and not isinstance(profiles.value, dict):
            yield Complaint(path=("profiles",), expected="a mapping of names to profiles", got=shown(plain(profiles)))
        if len(self.profiles) > MOST_PROFILES:
            got = str(len(self.profiles))
            yield Complaint(path=("profiles",), expected=f"at most {MOST_PROFILES} profiles", got=got)


def _choice_mistakes(draft: _Draft, profile: str | None) -> Iterator[Mistake]:
    command_line = Node(where=f"command line: --profile {printable(profile or '')}", key=(), value=None)
    for complaint in complaints_about_choice(draft.profiles, profile):
        yield located(command_line, complaint)


def mistakes_of(root: Node, trainers: Trainers) -> Iterator[Mistake]:
    """Find the mistakes in a resolved sweep."""
    yield from mistakes_in(root, SweepSpec)
    yield from (located(root, complaint) for complaint in complaints(root, trainers))


def ordered(mistakes: Iterable[Mistake], source: str) -> list[Mistake]:
    """Sort mistakes by line, with those of the command line last, and keep the first one about each key."""

    def line(mistake: Mistake) -> float:
        number = mistake.where.removeprefix(f"{source}:")
        return int(number) if number.isdecimal() else float("inf")

    first: dict[tuple[str, ...], Mistake] = {}
    for mistake in mistakes:
        # Mistakes without a key concern the whole line: there may be several.
        first.setdefault((mistake.where, mistake.key, "" if mistake.key else str(mistake)), mistake)
    return sorted(first.values(), key=line)


def _too_many(spec: SweepSpec) -> Complaint | None:
    """Complain about a grid with more trials than `MOST_TRIALS`. It is too large even to be listed."""
    if spec.method is not Method.GRID:
        return None
    if grid_size(spec.parameters, most=MOST_TRIALS) * len(spec.seeds) <= MOST_TRIALS:
        return None
    expected, hint = f"a grid of at most {MOST_TRIALS:,} trials", "write method: random and run_cap to try some of them"
    return Complaint(path=("parameters",), expected=expected, got="a larger one", hint=hint)


def _spec(
    resolved: Node, profiles: dict[str, Node], choice: str | None, nesting: Mapping[str, Sequence[str]]
) -> SweepSpec:
    data = plain(resolved)
    described = profiles[choice].child("description") if choice is not None else None
    description = plain(described) if described else ""
    provenance: dict[str, object] = {"profile": choice, "profile_description": description}
    if any("." in name for name in (found(resolved, "parameters") or resolved).children()):
        provenance["nesting"] = nesting
    return SweepSpec.model_validate({**data, **provenance} if isinstance(data, dict) else data)
