"""Fields of dataclasses and parameters of functions, as several libraries make options of them."""

from __future__ import annotations

from pathlib import Path

from sweeper.preflight.arguments.fields import Field, flat_fields
from sweeper.preflight.arguments.model import UNREAD, Member
from sweeper.preflight.arguments.reading import script_of


def fields(tmp_path: Path, text: str, name: str = "Config", **files: str) -> dict[str, Field]:
    (tmp_path / "train.py").write_text(text)
    for file, content in files.items():
        (tmp_path / f"{file}.py").write_text(content)
    script = script_of(tmp_path / "train.py", {})
    found = script.definition(name, script.own)
    assert found is not None
    return {field.name: field for field in flat_fields(found[1], found[0], script)}


def test_fields_are_inherited_and_overridden_across_modules(tmp_path: Path) -> None:
    found = fields(
        tmp_path,
        "from base import Base, RATE\nclass Config(Base):\n    width: int = 8\n    rate: float = RATE * 2\n",
        base="RATE = 0.1\nclass Base:\n    seed: int = 3\n    rate: float = 1.0\n    steps: 'int'\n",
    )
    assert {name: field.default for name, field in found.items()} == {"seed": 3, "rate": 0.2, "steps": None, "width": 8}
    assert found["steps"].required
    assert found["steps"].type.name == "int"


TYPES = """
from enum import Enum
class Kind(Enum):
    A = 'a'
    B = 'b'
class Config:
    a: Optional[float] = None
    b: int | None = 3
    c: Literal['x', 'y'] = 'x'
    d: Kind = Kind.B
    e: list[int] = field(default_factory=lambda: [1])
    f: Annotated[float, 1] = 0.5
    g: ClassVar[int] = 1
    h: Union[str, None] = make()
"""
DESCRIBED = """
class Config:
    a: int = field(default=1, metadata={'help': 'one'})
    b: int = Field(2, description='two')
    c: int = 3
    'three'
    d: int = Field(...)
    e: int = field()
    f: str = attr.ib(default='x')
"""


def test_types(tmp_path: Path) -> None:
    found = fields(tmp_path, TYPES)
    assert [field.type.name for field in found.values()] == ["float", "int", "str", "Kind", "list", "float", "str"]
    assert found["c"].type.choices == ("x", "y")
    assert found["d"].type.choices == (Member(name="A", value="a"), Member(name="B", value="b"))
    assert found["e"].type.several
    assert found["e"].default == [1]
    assert found["h"].default is UNREAD


def test_descriptions_of_fields(tmp_path: Path) -> None:
    found = fields(tmp_path, DESCRIBED)
    assert [(field.default, field.help) for field in found.values()] == [
        *((1, "one"), (2, "two"), (3, "three"), (None, ""), (None, ""), ("x", "")),
    ]
    assert [field.required for field in found.values()] == [False, False, False, True, True, False]


def test_dataclasses_that_contain_each_other_end(tmp_path: Path) -> None:
    found = fields(tmp_path, "class Config:\n    a: int = 1\n    inner: Config = Config()\n")
    assert "inner.inner.a" in found
    assert len(found) < 20


def test_a_class_of_a_library_is_not_another_one_of_its_name(tmp_path: Path) -> None:
    text = "import other\nfrom library import Base\nclass Config(Base):\n    a: int = 1\n"
    assert list(fields(tmp_path, text, other="class Base:\n    b: int = 2\n")) == ["a"]
    text = text.replace("library", "other")
    assert list(fields(tmp_path, text, other="class Base:\n    b: int = 2\n")) == ["b", "a"]
