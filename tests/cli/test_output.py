"""Where output goes: files that a user names, full disks, closed streams, odd terminals, names that are not Unicode."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sweeper.cli.output import write_output
from sweeper.errors import Unwritable, UsageError
from tests.end_to_end.test_sweeps import PATIENCE_S, ROOT

SCRIPT = """
import sweeper
with sweeper.trial() as trial:
    print("hello", trial.params)
    trial.report({"loss": 1.0}, step=0)
"""
SWEEP = {
    "name": "r",
    "command": ["${interpreter}", "train.py", "${args}"],
    "method": "grid",
    "metric": {"name": "loss"},
    "parameters": {"lr": {"values": [0.1, 0.2]}, "fold": {"values": [1, 2]}},
}
FULL = "standard output: No space left on device; make room on its disk, then call again"
CLOSED = "standard output is closed, so nothing can be written to it; open it, or name a file"
PRINTING = [
    *(
        "status runs/r",
        "status runs/r --json",
        "why runs/r 0",
        "logs runs/r 0",
        "plan sweep.yaml",
        "reproduce runs/r 0",
    ),
    *("reproduce runs/r 0 --patch", "export runs/r --csv -", "report runs/r", "--version", "run sweep.yaml"),
    *("exec --name done --no-watch -- echo hello", "init train.py --out -"),
]
DATA = ("status runs/r --json", "logs runs/r 0", "schema", "reproduce runs/r 0 --patch", "export runs/r --csv -")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, in a repository with a change."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "train.py"), ("commit", "-qm", "x")):
        subprocess.run([*git, *words], cwd=folder, check=True)
    (folder / "train.py").write_text(f"# changed\n{SCRIPT}")
    assert sweeper_in(folder, "run sweep.yaml")[0] == 0
    return folder


def sweeper_in(folder: Path | bytes, words: str, redirect: str = "", **environment: str) -> tuple[int, str, str]:
    """Return code, output and errors of a command line, with redirections of a shell behind it."""
    call = f"{sys.executable} -m sweeper.cli {words} {redirect}"
    done = subprocess.run(
        ["/bin/bash", "-c", call],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    out, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert "Traceback" not in out + errors, errors
    assert "Exception ignored" not in errors
    return done.returncode, out, errors.strip()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("words", PRINTING)
def test_output_onto_a_full_disk_is_an_error(folder: Path, words: str) -> None:
    code, _, errors = sweeper_in(folder, words, ">/dev/full")
    assert code == 2
    assert errors.splitlines()[-1] == FULL


@pytest.mark.timeout(300)
def test_a_closed_standard_output_is_an_error_for_data_and_otherwise_none(folder: Path) -> None:
    for words in DATA:
        assert sweeper_in(folder, words, ">&-")[::2] == (2, CLOSED), words
    for words in ("status runs/r", "why runs/r 0", "check sweep.yaml", "run sweep.yaml", "export runs/r --csv x.csv"):
        assert sweeper_in(folder, words, ">&-")[::2] == (0, ""), words
    assert (folder / "x.csv").read_text().startswith("number,")
    assert sweeper_in(folder, "status runs/nothing", "2>&- >&-")[0] == 2


@pytest.mark.parametrize("columns", ["0", "1", "-5", "²"])
def test_a_size_of_a_terminal_that_cannot_be_is_ignored(folder: Path, columns: str) -> None:
    plain = sweeper_in(folder, "status runs/r", COLUMNS="80")[1]
    assert sweeper_in(folder, "status runs/r", COLUMNS=columns, LINES=columns)[1] == plain
    assert "0003" in plain


@pytest.mark.timeout(600)
def test_names_that_are_not_unicode_work(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/x\xff y"
    os.mkdir(folder)  # noqa: PTH102 - a path of bytes
    here = Path(os.fsdecode(folder))
    (here / "train.py").write_text(SCRIPT)
    (here / "sweep.yaml").write_text(json.dumps(SWEEP))
    odd = {"ODD": os.fsdecode(b"\xfe"), "HF_HOME": os.fsdecode(b"/h\xff")}
    for words in (
        *("check sweep.yaml", "run sweep.yaml", "status runs/r", "status runs/r --json", "why runs/r 0"),
        *("report runs/r", "export runs/r --csv $'o\\xff.csv' --optuna $'o\\xff.db'", "compare runs/r runs/r"),
        *(
            "reproduce runs/r 0",
            "run sweep.yaml --runs $'r\\xff'",
            "report $'r\\xff/r'",
            "run sweep.yaml name=p launch=preload",
        ),
    ):
        code, _, errors = sweeper_in(folder, words, **odd)
        assert code == 0, (words, errors)
    for words in (
        "exec -- $'tr\\xfe.py'",
        "exec --name $'e\\xff' -- true",
        "run sweep.yaml $'lr=\\xff'",
        "check $'\\xff.yaml'",
    ):
        code, _, errors = sweeper_in(folder, words, **odd)
        assert (code, len(errors.splitlines())) == (2, 1), (words, errors)
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["p", "r"]
    assert sweeper_in(folder, "status runs/r", PYTHONIOENCODING="ascii")[0] == 0


# ---- files that a user names ----------------------------------------------------------------------------------------


def test_a_regular_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o640)
    write_output(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o640)
    made = tmp_path / "made"
    made.write_bytes(b"from a file")
    write_output(tmp_path / ("n" * 250), made)
    assert (tmp_path / ("n" * 250)).read_bytes() == b"from a file"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, *, exists: bool) -> None:
    (tmp_path / "inner").mkdir()
    target, link = tmp_path / "inner/target", tmp_path / "link"
    link.symlink_to("inner/target")
    if exists:
        target.write_text("old")
    write_output(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"data")
    reader.join()
    assert got == [b"data"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(UsageError, match="expected a regular file or none, got a device or a pipe"):
        write_output(pipe, b"data", special=False)


def test_devices_are_written_into(folder: Path) -> None:
    write_output(Path("/dev/null"), b"data")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(Unwritable, match="/dev/full: cannot be written: No space left on device; make room"):
        write_output(Path("/dev/full"), b"data")
    for name in ("/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"):
        sweeper_in(folder, f"export runs/r --csv {name}", ">all.txt")
        lines = (folder / "all.txt").read_text().splitlines()
        assert (lines[0][:7], len(lines), lines[-1]) == ("number,", 6, f"{name}: 4 trials")
    assert sweeper_in(folder, "export runs/r --csv /dev/stdout", "| head -1")[1].startswith("number,")
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (".", ".: expected the name of a file, got a directory; add a name, as in out"),
        ("no/such", "no/such: expected a directory that exists, got no "),
        ("train.py/x", "train.py/x: expected a directory that exists, got no "),
        ("x" * 300, "x: cannot be written: File name too long; choose a shorter name"),
    ],
)
def test_a_file_that_cannot_be_made_is_one_sentence(folder: Path, path: str, said: str) -> None:
    kind = {".": "--parquet", "no/such": "--optuna"}.get(path, "--csv")
    before = sorted(folder.iterdir())
    code, out, errors = sweeper_in(folder, f"export runs/r {kind} {path}")
    assert (code, out, len(errors.splitlines())) == (2, "", 1)
    assert said in errors
    assert sorted(folder.iterdir()) == before


def test_a_report_is_not_written_over_anything_but_files(folder: Path) -> None:
    code, _, errors = sweeper_in(folder, "report runs/r --out train.py")
    assert (code, errors) == (
        2,
        "train.py: File exists; remove what is in its place, or choose another name, then call again",
    )
    (folder / "odd").mkdir()
    os.mkfifo(folder / "odd/summary.json")
    code, _, errors = sweeper_in(folder, "report runs/r --out odd")
    assert (code, errors) == (
        2,
        "odd/summary.json: expected a regular file or none, got a device or a pipe; move it away",
    )
