"""Known settings: which entry of `start_with` a search proposes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.config import Parameter, Setting, SweepSpec, demands, identity, setting_of, whole
from sweeper.search.proposal import Configuration


def settings_of(spec: SweepSpec) -> list[Setting]:
    """Return the entries of `start_with`, with their values as the parameters take them."""
    return [setting_of(spec.parameters, entry) for entry in spec.start_with]


class Start:
    """The settings that a search starts with.

    Which of them are left follows from the configurations so far, so that a resumed sweep goes on where it was, and an
    entry that is added to the file later is proposed then.
    """

    def __init__(self, parameters: Mapping[str, Parameter], settings: Sequence[Setting]) -> None:
        self._settings = settings
        self._wholes = [whole(parameters, setting) for setting in settings]
        self._demands = [demands(parameters, setting).values for setting in settings]

    def next(self, seen: Sequence[Configuration]) -> Known | None:
        """Return the first setting of which no configuration was made, and which none has by chance."""
        if not self._settings:
            return None
        begun = {identity(one.start) for one in seen if one.start is not None}
        left = [index for index, setting in enumerate(self._settings) if identity(setting) not in begun]
        if not left:
            return None
        there = {identity(one.params) for one in seen}
        for index in left:
            fixed = self._wholes[index]
            if fixed is None or identity(fixed) not in there:
                return Known(self._settings[index], self._demands[index])
        return None


class Known:
    """A setting to propose: the values that it fixes, and those that it leaves possible for other parameters."""

    def __init__(self, setting: Setting, demanded: Mapping[str, Sequence[object]]) -> None:
        self.setting = setting
        self._demanded = demanded

    def value(self, name: str, drawn: object) -> object:
        """Return a parameter's value: the fixed one, or what the sampler drew.

        If a fixed parameter would not apply with what the sampler drew, it is the first value with which it does.
        """
        if name in self.setting:
            return self.setting[name]
        possible = self._demanded.get(name, ())
        if not possible or identity(drawn) in map(identity, possible):
            return drawn
        return possible[0]
