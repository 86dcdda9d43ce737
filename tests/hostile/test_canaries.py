"""Real sweeps with hostile or secret names, values, errors and surroundings: where does each of them appear?"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import sweeper

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # TensorBoard's own copy of html5lib warns of itself
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugin_util import markdown_to_safe_html
    from tensorboard.util import tensor_util

ROOT = Path(sweeper.__file__).parents[1]
PATIENCE_S = 200.0
ESCAPES = "\x1b]52;c;Q0FOQVJZ\x07\x1b]8;;http://canary.example\x07\x1b[31mCANARY\x1b[0m\x9b2J\r\u202eCANARY [red]CANARY"
MARKUP = "[red]CANARY[/red] <script>CANARY</script> **CANARY** | `CANARY` ![CANARY](http://canary.example/x.png) &lt;"
HOSTILE = f"{MARKUP} =1+CANARY {ESCAPES}"

SCRIPT = """
import json, sys, sweeper
hostile = json.loads(open("hostile.json").read())
print(hostile)
with sweeper.trial() as trial:
    trial.note(hostile)
    for step in range(3):
        trial.report({"accuracy": float(step), "loss " + hostile: 1.0, hostile: 2.0}, step=step)
    if trial.params["fate"] == "failed":
        raise ValueError(hostile)
"""


class Place:
    """A folder with a sweep in it, and the command line; `environment` is added to this process's own."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, umask: int = 0o022) -> None:
        self.folder = folder
        self.run = folder / "runs" / "canary"
        self._umask = umask
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **(environment or {})}
        (folder / "train.py").write_text(SCRIPT)
        (folder / "hostile.json").write_text(json.dumps(HOSTILE))

    def declare(self, **keys: Any) -> None:
        """Write the sweep file: a trial that ends well and one that fails, with these keys in place of its own."""
        sweep = {
            "name": "canary",
            "command": ["${interpreter}", "train.py", "${args}"],
            "method": "grid",
            "metric": {"name": "accuracy", "goal": "maximize"},
            "parameters": {"fate": {"values": ["learned", "failed"]}},
        }
        (self.folder / "sweep.yaml").write_text(json.dumps({**sweep, **keys}))

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper.cli", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            umask=self._umask,
            **streams,
        )

    def piped(self, *arguments: str) -> str:
        """What a command writes to a pipe, to both of its streams."""
        process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return process.communicate(timeout=PATIENCE_S)[0].decode()

    def on_a_terminal(self, *arguments: str) -> str:
        """What a command writes to a terminal."""
        here, there = pty.openpty()
        process = self.start(*arguments, stdout=there, stderr=there)
        os.close(there)
        written, until = bytearray(), time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < until:
                if select.select([here], [], [], 1.0)[0]:
                    written += os.read(here, 65_536)
        except OSError:  # EIO: the other side is closed
            pass
        finally:
            os.close(here)
            process.wait(timeout=PATIENCE_S)
        return written.decode()

    def files(self) -> Iterator[Path]:
        return (path for path in self.run.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str]:
    """A sweep that was run on a terminal, and what it wrote there."""
    place = Place(tmp_path_factory.mktemp("hostile"))
    place.declare(
        metric={"name": "accuracy", "goal": "maximize"},
        description=HOSTILE,
        parameters={"fate": {"values": ["learned", "failed", "learned too"]}, "text": {"values": [HOSTILE]}},
    )
    return place, place.on_a_terminal("run", "sweep.yaml")


def assert_harmless(text: str, *, terminal: bool = False) -> None:
    """Nothing that acts on a terminal comes from the sweep; on one, rich's own colours and movements are allowed."""
    for forbidden in ("\x07", "\x1b]", "\x1b[31mCANARY", "\x9b", "\u202e", "\x1bP", "\x1b_"):
        assert forbidden not in text, f"{forbidden!a} in {text!a}"
    assert terminal or "\x1b" not in text
    assert "CANARY" in text


@pytest.mark.timeout(600)
def test_what_a_sweep_carries_shows_as_text(hostile: tuple[Place, str]) -> None:
    place, live = hostile
    assert_harmless(live, terminal=True)
    assert "[red]CANARY" in live  # no markup of rich's either
    for command in (["status", "runs/canary"], ["why", "runs/canary", "0"], ["why", "runs/canary", "1"]):
        assert_harmless(place.piped(*command))
        assert_harmless(place.on_a_terminal(*command), terminal=True)
    assert "[red]CANARY" in place.piped("why", "runs/canary", "1")
    assert_harmless(place.on_a_terminal("plan", "sweep.yaml"), terminal=True)
    assert_harmless(place.piped("plan", "sweep.yaml"))
    assert_harmless(place.piped("backtest", "runs/canary", "--metric", HOSTILE.replace("\0", ""), "--goal", "minimize"))
    assert_harmless(place.piped("run", f"{HOSTILE.replace('/', '')}.yaml"))
    assert_harmless(place.piped("run", "sweep.yaml", f"{HOSTILE}=1"))
    assert_harmless(place.piped("status", HOSTILE.replace("/", "")))
    assert json.loads(place.piped("status", "runs/canary", "--json"))["trials"][0]["params"]["text"] == HOSTILE


@pytest.mark.timeout(600)
def test_output_of_a_single_command_is_its_own_and_the_words_about_it_are_plain(hostile: tuple[Place, str]) -> None:
    place, _ = hostile
    process = place.start(
        *(
            "exec",
            "--name",
            "single",
            "--",
            sys.executable,
            "-c",
            f"print({HOSTILE!r}); import sys; sys.exit({HOSTILE!r})",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=PATIENCE_S)
    assert HOSTILE in out.decode()
    words = err.decode().replace(HOSTILE, "CANARY")
    assert "sweeper: the record is" in words
    assert_harmless(words)


ALLOWED_TAGS = {"p", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "strong"}


@pytest.mark.timeout(600)
def test_what_a_sweep_carries_is_text_in_tensorboard(hostile: tuple[Place, str]) -> None:
    place, _ = hostile
    texts = dict(texts_of(place.run / "tensorboard"))
    assert {"sweep", "trial", "notes"} <= texts.keys()
    for text in texts.values():
        rendered = markdown_to_safe_html(text)
        assert "CANARY" in rendered
        assert set(re.findall(r"<(\w+)", rendered)) <= ALLOWED_TAGS
        assert not set(rendered) & set("\x1b\x07\x9b\u202e")


def texts_of(board: Path) -> Iterator[tuple[str, str]]:
    """Tag and markdown of every text in the event files."""
    for path in board.rglob("events.out.tfevents.*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "text":
                    yield value.tag, tensor_util.make_ndarray(value.tensor).item().decode()


@pytest.mark.timeout(600)
def test_secrets_stay_where_their_user_put_them(tmp_path: Path) -> None:
    """Of the environment, the remote and the changes nothing; of the user's own command only what has to run."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git")
    never = [f"c4n4ry{name}{os.getpid()}" for name in ("token", "other", "remote", "changed", "cache")]
    own = [f"c4n4ry{name}{os.getpid()}" for name in ("option", "word", "url", "named")]
    environment = {
        "HF_TOKEN": never[0],
        "ANYTHING": never[1],
        "HF_HOME": f"https://me:{never[4]}@cache.example/x",
    }
    place = Place(tmp_path, environment)
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty", "-m", "x"],
        ["remote", "add", "origin", f"https://{never[2]}@git.example.org/a.git"],
        ["add", "train.py"],
    ):
        subprocess.run([git, *command], cwd=tmp_path, check=True)
    (tmp_path / "train.py").write_text(f"{SCRIPT}\npassword = '{never[3]}'\n")
    place.declare(
        command=["${interpreter}", "train.py", "--api-key", own[1], f"--password={own[0]}", "${args}"],
        parameters={
            "fate": {"value": "learned"},
            "data": {"value": f"https://me:{own[2]}@data.example/x"},
            "api_token": {"value": own[3]},
        },
    )
    (tmp_path / "hostile.json").write_text('"harmless"')
    said = place.piped("run", "sweep.yaml")
    assert "complete" in said
    holders: dict[str, set[str]] = {secret: set() for secret in (*never, *own)}
    for path in place.files():
        raw = path.read_bytes() + os.fsencode(path.relative_to(place.run))
        for secret, files in holders.items():
            if secret.encode() in raw:
                files.add(path.relative_to(place.run).as_posix())
    assert {secret: holders[secret] for secret in never} == {secret: set() for secret in never}
    # The last is what trials that ended were folded to: it holds what their trial.json does.
    allowed = {"sweep.yaml", "spec.json", "trials/0000/trial.json", "search.jsonl", "ended.jsonl"}
    for secret in own:
        assert {"sweep.yaml", "spec.json", "trials/0000/trial.json"} <= holders[secret] <= allowed
    provenance = json.loads((place.run / "spec.json").read_text())["provenance"]
    assert provenance["environment"]["HF_HOME"] == "https://[redacted]@cache.example/x"
    assert "[redacted]" in provenance["difference"]
    assert any("[redacted]" in text for _, text in texts_of(place.run / "tensorboard"))


SPILLING = """
import json, sys, sweeper
secrets = json.loads(open("secrets.json").read())
with sweeper.trial() as trial:
    trial.note(secrets["note"])
    trial.report({"accuracy": 1.0}, step=0)
    print(secrets["output"])
    if trial.params["fate"] == "failed":
        raise ValueError(secrets["error"])
    if trial.params["fate"] == "exited":
        sys.stdout.flush()
        __import__("os")._exit(3)
"""


@pytest.mark.timeout(600)
def test_secrets_of_a_sweep_are_shown_and_handed_on_by_no_command(tmp_path: Path) -> None:
    canaries = [f"c4n4ry{number}x{os.getpid()}" for number in range(9)]
    texts = {
        "note": f"token={canaries[0]}",
        "output": f"sending with Authorization: Bearer {canaries[1]}",
        "error": f"403 for url: https://me:{canaries[2]}@data.example/x?sv=1&sig={canaries[3]}%3D&y=2",
    }
    place = Place(tmp_path)
    (tmp_path / "train.py").write_text(SPILLING)
    (tmp_path / "secrets.json").write_text(json.dumps(texts))
    place.declare(
        parameters={
            "fate": {"values": ["learned", "failed", "exited"]},
            "api_key": {"values": canaries[4:6]},
            "AWS_SECRET_ACCESS_KEY": {"value": canaries[6]},
            "db_pass": {"value": canaries[7]},
            "url": {"values": [f"s3://k:{canaries[8]}@b/x"]},
        },
        notify={"on": ["failure", "end"], "command": ["cat"]},
    )
    shown = {"run": place.on_a_terminal("run", "sweep.yaml")}
    for command in (
        *("status runs/canary", "status runs/canary --json", "plan sweep.yaml --against runs/canary"),
        *("compare runs/canary runs/canary", "reproduce runs/canary 0", "report runs/canary --out report"),
        *("export runs/canary --csv out.csv --optuna out.db", "backtest runs/canary", "queue runs/canary"),
        *(f"why runs/canary {number}" for number in range(6)),
    ):
        shown[command] = place.piped(*command.split())
    for path in (*tmp_path.glob("out.*"), *tmp_path.glob("report/*"), *place.run.glob("tensorboard/**/*")):
        shown[str(path)] = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    shown["notify.log"] = (place.run / "notify.log").read_text()
    assert {secret: [name for name, text in shown.items() if secret in text] for secret in canaries} == {
        secret: [] for secret in canaries
    }
    for name in ("run", "why runs/canary 2", "status runs/canary --json", "notify.log", str(tmp_path / "out.csv")):
        assert "[redacted]" in shown[name], name
    assert "api_key" in shown[str(tmp_path / "out.csv")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_are_made_with_the_users_umask(tmp_path: Path, umask: int) -> None:
    place = Place(tmp_path, umask=umask)
    place.declare(parameters={"fate": {"value": "learned"}})
    said = place.piped("run", "sweep.yaml")
    modes = {path: path.lstat().st_mode for path in (place.run.parent, *place.run.parent.rglob("*"))}
    assert any(path.name.startswith("events.out") for path in modes), said
    for path, mode in modes.items():
        assert stat.S_IMODE(mode) == (0o777 if stat.S_ISDIR(mode) else 0o666) & ~umask, f"{path}: {mode:o}"


def listening(pid: int) -> set[tuple[str, str]]:
    """Address and port, in hexadecimal, of what a process and those it started listen on (proc(5): net/tcp)."""
    family, held = [pid], set()
    gone = contextlib.suppress(FileNotFoundError, ProcessLookupError)  # they start, open, close and end as we look
    for member in family:
        with gone:
            for task in Path(f"/proc/{member}/task").glob("*/children"):
                family += map(int, task.read_text().split())
            for fd in Path(f"/proc/{member}/fd").iterdir():
                with gone:
                    held.add(str(fd.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in held:
                found.add((local.rpartition(":")[0], local.rpartition(":")[2]))
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
ANYWHERE = {"00000000", "0" * 32}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("options", "addresses"), [([], LOOPBACK), (["--host", "0.0.0.0"], ANYWHERE)])  # noqa: S104
def test_tensorboard_listens_on_loopback_unless_asked(
    hostile: tuple[Place, str], options: list[str], addresses: set[str]
) -> None:
    process = hostile[0].start("tensorboard", "runs/canary", "--port", "0", *options, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        line = b" "
        while line and b"http://" not in line:
            line = process.stderr.readline()
        found = {address for address, _ in listening(process.pid)}
        assert found & addresses
        assert found <= addresses | LOOPBACK
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
