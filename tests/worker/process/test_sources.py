"""What a program imports, read from its source and from the modules beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.worker.process.sources import SourceFile, all_imports, imports_of, is_installed, source_of


def test_the_imports_of_a_script_are_found(tmp_path: Path) -> None:
    script = "import a.b, c as d\nfrom e import f\nfrom . import g\ndef h():\n    import i\n"
    (tmp_path / "script.py").write_text(script)
    assert imports_of(SourceFile(tmp_path / "script.py")) == ["a.b", "c", "e", "e:f", "i"]
    (tmp_path / "script.py").write_text("import (")
    assert imports_of(SourceFile(tmp_path / "script.py")) == []


def test_modules_that_are_not_installed_are_followed(tmp_path: Path) -> None:
    files = {
        "train.py": "import model\nfrom job.data import load\nimport not_there",
        "model.py": "import torch",
        "job/__init__.py": "import yaml",
        "job/data/__init__.py": "from ..deep import x\nfrom .split import y",
        "job/data/split.py": "import numpy",
        "job/deep.py": "import pandas\nimport train",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = all_imports([SourceFile(tmp_path / "train.py", search_path=(str(tmp_path),))])
    assert {"torch", "yaml", "numpy", "pandas", "job.data.split"} <= set(found)


def test_a_module_is_found_without_importing_its_packages(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "job/train.py").write_text("")
    (tmp_path / "bare/deep").mkdir(parents=True)
    (tmp_path / "bare/deep/train.py").write_text("")
    search_path = (str(tmp_path),)
    assert source_of("job.train", search_path) == SourceFile(tmp_path / "job/train.py", "job", search_path)
    assert source_of("job", search_path) == SourceFile(tmp_path / "job/__init__.py", "job", search_path)
    assert source_of("bare.deep.train", search_path) == SourceFile(
        tmp_path / "bare/deep/train.py", "bare.deep", search_path
    )
    assert source_of("job.missing", search_path) is None
    assert source_of("missing", search_path) is None
    assert source_of("job/../job", search_path) is None


@pytest.mark.parametrize(
    ("module", "expected"),
    [("json", True), ("sys", True), ("sweeper.trainers", True), ("yaml", True), ("model", False), ("missing", False)],
)
def test_installed_modules_are_recognised(tmp_path: Path, module: str, expected: bool) -> None:
    (tmp_path / "model.py").write_text("")
    assert is_installed(module, (str(tmp_path),)) is expected
