"""What the service answers: frozen dataclasses, one module for each part of the record.

`VERSION` is the version of their JSON. A new key does not change it; a key that is removed, renamed or gets another
meaning does.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer by itself, in contrast to a part of one.

    Attributes:
        version: the version of the JSON.
    """

    version: int = VERSION
