"""What a function takes, read without running its module."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.errors import SpecError
from sweeper.trainers.functions import signature_of

MODULE = """
raise SystemExit("a module is not run")
import functools
from .inner import train as renamed
from .away import *
if True:
    def conditional(lr=1e-3): ...
@functools.cache
def decorated(): ...
made = functools.partial(print)
async def later(): ...
def plain(trial, lr, *, warmup=[0.1], width=WIDTH, **rest): ...
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/__init__.py").write_text(MODULE)
    (tmp_path / "job/inner.py").write_text("def train(a, /, b=2): ...\n")
    (tmp_path / "job/away.py").write_text("")
    (tmp_path / "job/bare.py").write_text("def fit(): ...\ndef _own(): ...\n")
    (tmp_path / "job/broken.py").write_text("def fit(:\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("job:plain", "(trial, lr, *, warmup=[0.1], width=Ellipsis, **rest)"),
        ("job:renamed", "(a, /, b=2)"),
        ("job:conditional", "(lr=0.001)"),
        ("job:decorated", "(*args, **kwargs)"),
        ("job:made", "(*args, **kwargs)"),
        ("job:of_the_star", "(*args, **kwargs)"),
        ("math:sqrt", "(*args, **kwargs)"),
        ("job.bare:fit", "()"),
    ],
)
def test_the_signature_of_a_function_is_read_from_its_source(tmp_path: Path, name: str, expected: str) -> None:
    assert str(signature_of(name, tmp_path)) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("job.bare:train", "expected a function train in {0}/job/bare.py, got nothing of that name; it has fit"),
        ("job.inner:trian", "expected a function trian in {0}/job/inner.py, got nothing of that name; it has train"),
        ("job.missing:fit", "expected a module job.missing, in {0} or installed, got none"),
        ("missing:fit", "expected a module missing, in {0} or installed, got none"),
        ("job.broken:fit", "expected Python in {0}/job/broken.py, got line 1: invalid syntax"),
        (
            "job:later",
            (
                "expected a function later in {0}/job/__init__.py, got a coroutine; "
                "write a function that runs it, for example by asyncio.run"
            ),
        ),
        ("job/inner.py:train", "expected a function as package.module:function, got 'job/inner.py:train'"),
        ("job.inner:", "expected a function as package.module:function, got 'job.inner:'"),
    ],
)
def test_a_missing_function_is_reported(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        signature_of(name, tmp_path)
    mistake = error.value.mistakes[0]
    hint = f"; {mistake.hint}" if mistake.hint else ""
    assert f"expected {mistake.expected}, got {mistake.got}{hint}" == message.format(tmp_path)
