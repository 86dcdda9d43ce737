"""Rows 9, 10, 12, 17 and 19 of the fault matrix: what happens to the record and what is kept beside it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from sweeper.errors import RecordError
from sweeper.record.events import Noted, Resumed
from sweeper.record.reader import read_exit
from sweeper.record.storage import inbox
from sweeper.record.storage.claim import owner_of, process_identity
from sweeper.record.storage.journal import JournalReader, JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from sweeper.record.trial import State
from sweeper.results.status import read_sweep, to_json
from sweeper.worker import checkpoint
from tests.faults.harness import Fault, Scene
from tests.faults.processes import kill_everything, kill_orchestrator
from tests.faults.recorded import grid, recorded, search
from tests.faults.sweeps import LOUD, ROOT, TORCH, Site

ELSEWHERE = "00000000-0000-0000-0000-000000000000"

# ---- row 9: torn lines --------------------------------------------------------------------------------------------


def tear_a_line(scene: Scene) -> None:
    """As a power cut leaves it: all is killed, and of one file the last line is there in part.

    Not of what an attempt recorded before its exit was: that was on the disk.
    """
    kill_everything(scene)
    run = scene.site.run.path
    patterns = ("log.jsonl", "search.jsonl", "trials/*/control.jsonl", "trials/*/attempts/*/events.jsonl")
    others = ("trials/*/attempts/*/claim", "trials/*/attempts/*/exit.json")
    paths = [path for pattern in (*patterns, *others) for path in sorted(run.glob(pattern)) if path.stat().st_size]
    paths = [path for path in paths if path.name != "events.jsonl" or not path.with_name("exit.json").exists()]
    if not paths:
        return
    path = scene.random.choice(paths)
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    path.write_bytes(whole[: scene.random.randrange(last, len(whole))])
    scene.excused.append(path)


JOURNALS = ("log.jsonl", "search.jsonl", "trials/0000/control.jsonl", "trials/0000/attempts/1/events.jsonl")
WHOLE = (
    "trials/0000/attempts/1/exit.json",
    "trials/0000/attempts/1/claim",
    "trials/0000/trial.json",
    "spec.json",
    "inbox/command.json",
)


def tear_everywhere(scene: Scene) -> None:
    """Every file of the record that a run left, cut at each of its bytes in turn; whole again in the end."""
    scene.end_of_first_call()
    site, scene.tries = scene.site, 0
    inbox.send(site.run, inbox.ForTrial(do=inbox.TrialCommand.REVIVE, number=0))
    (command,) = site.run.inbox.iterdir()
    command.rename(site.run.inbox / "command.json")
    for name in JOURNALS:
        path = site.run.path / name
        events = [repr(event) for event in read_journal(path)]
        for offset, whole in _cuts(scene, path):
            ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
            complete = sum(end <= offset for end in ends)
            _read_all(scene, path, offset, torn=True)
            scene.expect([repr(e) for e in read_journal(path)] == events[:complete], f"{name} cut at {offset}")
            with JournalWriter(path) as journal:
                journal.append(Noted(text="next"))
            reader = JournalReader(path)
            after = [repr(event) for event in reader.read()]
            scene.expect(after == [*events[:complete], repr(Noted(text="next"))], f"{name} at {offset}, and a line")
            scene.expect(reader.damaged == (offset not in {0, *ends, *(end + 1 for end in ends)}), f"{name}: {offset}")
    for name in WHOLE:
        path = site.run.path / name
        for offset, whole in _cuts(scene, path):
            torn = offset < len(whole.rstrip())
            _read_all(scene, path, offset, torn=torn)
            if torn:
                readers: Mapping[str, Callable[[], object]] = {
                    "exit.json": lambda: read_exit(site.run.trial(0).attempt(1)),
                    "claim": lambda: owner_of(site.run.trial(0).attempt(1)),
                    "command.json": lambda: any(command for _, command in inbox.received(site.run)),
                }
                left = readers.get(path.name, lambda: None)()
                scene.expect(not left, f"{name} cut at {offset}: read as {left}")
    shutil.rmtree(site.run.inbox)


def _cuts(scene: Scene, path: Path) -> Iterator[tuple[int, bytes]]:
    """The file cut at each of its offsets in turn, and whole again at the end."""
    whole = path.read_bytes()
    for offset in range(len(whole)):
        path.write_bytes(whole[:offset])
        scene.tries += 1
        yield offset, whole
    path.write_bytes(whole)


def _read_all(scene: Scene, path: Path, offset: int, *, torn: bool) -> None:
    """As `sweeper status --json` reads it: the other trials stay, and what is gone is named."""
    if path.name == "spec.json" and torn:
        try:
            read_sweep(scene.site.run)
            scene.problems.append(f"spec.json cut at {offset}: taken for whole")
        except RecordError as error:
            named = "spec.json: expected JSON" in str(error) or "spec.json: its checksum" in str(error)
            scene.expect(named, f"spec.json cut at {offset}: {error}")
        return
    status = to_json(read_sweep(scene.site.run))
    trials, unreadable = status["trials"], status["unreadable"]
    assert isinstance(trials, list)
    assert isinstance(unreadable, list)
    held = (len(trials), len(unreadable)) == ((2, 1) if path.name == "trial.json" and torn else (3, 0))
    scene.expect(held, f"{path.name} cut at {offset}: {len(trials)} trials, {unreadable}")


ALTERED = 2_000


def alter_everywhere(scene: Scene) -> None:
    """One byte of a record is altered, 2,000 times, in runs with trials of all kinds and with a search that learns."""
    scene.end_of_first_call()
    folders = [scene.site.folder / name for name in ("kinds", "search")]
    for folder in folders:
        folder.mkdir()
    runs = [recorded(folders[0], grid(), paused=5), recorded(folders[1], search())]
    scene.tries = ALTERED
    # In another process: it takes what the command line prints, and here other threads print.
    command = [sys.executable, "-m", "tests.faults.damage", str(ALTERED), str(scene.random.randrange(1000))]
    done = subprocess.run([*command, *(str(run.path) for run in runs)], cwd=ROOT, capture_output=True, text=True)
    scene.problems += done.stdout.splitlines()
    scene.expect(done.returncode == 0, done.stderr[-500:])


# ---- row 10: checkpoints --------------------------------------------------------------------------------------------


def flip(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)


def truncate(path: Path, place: float) -> None:
    path.write_bytes(path.read_bytes()[: int(place * path.stat().st_size)])


def replace_by_a_directory(path: Path, _: float) -> None:
    path.unlink()
    path.mkdir()


class Exploit:
    """Unpickled, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._proof,)


def exploit(proof: Path) -> bytes:
    """A pickle that makes `proof`, within an archive as torch.save makes it."""
    made, forged = io.BytesIO(), io.BytesIO()
    torch.save({"step": 5}, made)
    with zipfile.ZipFile(made) as archive, zipfile.ZipFile(forged, "w") as target:
        for name in archive.namelist():
            code = pickle.dumps(Exploit(proof), protocol=2)  # torch's; it warns of others
            target.writestr(name, code if name.endswith("data.pkl") else archive.read(name))
    return forged.getvalue()


def named_as_checkpoint(folder: Path, data: bytes, step: int) -> Path:
    """A file with the name and the checksum of a checkpoint."""
    path = folder / f"step-{step:09d}.{hashlib.sha256(data).hexdigest()[:16]}.pt"
    folder.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def damage_checkpoints(scene: Scene) -> None:
    """Of each trial that has not ended, the newest checkpoint is damaged: the one before is used, and that is said."""
    kill_everything(scene)
    proof = scene.site.folder / "proof"
    for trial in scene.site.trials():
        kept = checkpoint.checkpoints(trial.directory.checkpoints)
        if trial.outcome == "completed" or not kept:
            continue
        how = scene.random.choice([flip, truncate, replace_by_a_directory, None])
        if how is None:
            named_as_checkpoint(trial.directory.checkpoints, exploit(proof), 999)
            left = kept
        else:
            how(kept[0], scene.random.random())
            left = kept[1:]
        step = checkpoint.step_of(left[0]) if left else None
        check = functools.partial(_took_the_one_before, scene.site, trial.directory, trial.newest.number, step)
        scene.afterwards.append(check)
    scene.afterwards.append(lambda: iter(["a checkpoint ran code"] if proof.exists() else []))


def _took_the_one_before(site: Site, directory: TrialDir, attempt: int, step: int | None) -> Iterator[str]:
    trial = site.trial(directory.number)
    if trial is None or trial.newest.number == attempt:
        return  # it had ended, and no process had recorded that yet
    events = read_journal(directory.attempt(attempt + 1).events)
    resumed = [event.step for event in events if isinstance(event, Resumed)]
    notes = [event.text for event in events if isinstance(event, Noted)]
    if resumed != ([] if step is None else [step]) or not notes:
        yield f"{directory.path.name}: expected a note and to go on from {step}, got {notes} and {resumed}"


# ---- rows 12 and 17: pids -------------------------------------------------------------------------------------------


def forge_claims(scene: Scene) -> None:
    """Another process has the pid of a shim, and its worker lives or does not."""
    scene.random.choice([kill_everything, kill_orchestrator])(scene)
    _name_a_stranger(scene)


def reboot(scene: Scene) -> None:
    """All is gone, and pids and start times begin anew; a stranger has those of a shim."""
    kill_everything(scene)
    _name_a_stranger(scene, boot=ELSEWHERE, start=True)


def _name_a_stranger(scene: Scene, *, start: bool = False, **forged: object) -> None:
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    identity = process_identity(stranger.pid)
    for attempt in scene.site.attempts():
        owner = owner_of(attempt)
        if owner and not attempt.exit.exists():
            own = {"start": identity["start"]} if start else {}
            write_json(attempt.claim, {**owner, "pid": stranger.pid, **own, **forged})
            scene.excused.append(attempt.claim)

    def lives() -> Iterator[str]:
        code = stranger.poll()
        stranger.kill()
        stranger.wait()
        return iter([f"a stranger was signalled: {code}"] if code is not None else [])

    scene.afterwards.append(lives)


# ---- row 19: directories --------------------------------------------------------------------------------------------


def delete(trial: TrialDir) -> None:
    shutil.rmtree(trial.path, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(trial.path)  # a process at work there may have made something meanwhile


def write_garbage(trial: TrialDir) -> None:
    trial.facts.write_bytes(b"\x00\xff garbage")


def write_wrong_facts(trial: TrialDir) -> None:
    trial.facts.write_text('{"number": "0"}')


def delete_facts(trial: TrialDir) -> None:
    trial.facts.unlink()


def put_a_file_there(trial: TrialDir) -> None:
    delete(trial)
    trial.path.write_text("not a directory")


def put_a_directory_there(trial: TrialDir) -> None:
    trial.control.unlink(missing_ok=True)
    trial.control.mkdir()


def copy_another_over(trial: TrialDir) -> None:
    other = SweepDir(trial.path.parents[1]).trial((trial.number + 1) % 3)
    shutil.rmtree(trial.path)
    shutil.copytree(other.path, trial.path)


def damage_a_trial(*damages: Callable[[TrialDir], None], running: bool) -> Callable[[Scene], None]:
    """By hand, while the sweep runs or after all was killed: said, and the rest goes on."""

    def inject(scene: Scene) -> None:
        if not running:
            kill_everything(scene)
        trials = scene.site.trials()
        if not trials:
            return
        before = scene.random.choice(trials)
        directory = before.directory
        scene.excused.append(directory.path)
        damage = scene.random.choice(damages)
        others = {trial.facts.number: trial.newest.number for trial in trials if trial is not before}
        try:
            damage(directory)
        except FileNotFoundError:
            return  # the sweep was faster
        scene.renumbered = True
        if running:
            scene.expect_end(0, 1)
            if scene.orchestrator.returncode:
                said = scene.site.outputs[0].read_text(errors="replace")
                words = f"Trial {directory.path.name} is abandoned, and the next `sweeper run` starts it anew"
                scene.expect(words in said, f"expected {words!r}, got {said[-500:]!r}")
                ended = {t.facts.number: t.state for t in scene.site.trials() if t.facts.number in others}
                left = {number for number, state in ended.items() if state is not State.COMPLETE}
                scene.expect(not left, f"the rest did not go on: {ended}")
        elif damage is not delete and not directory.is_unmade:  # of which nothing is missed
            unreadable = to_json(read_sweep(scene.site.run))["unreadable"]
            scene.expect(str(directory.path) in str(unreadable), f"{directory.path}: not named in {unreadable}")

    return inject


WHILE_IT_RUNS = (delete, put_a_file_there, put_a_directory_there)
WHILE_NOTHING_RUNS = (
    delete,
    write_garbage,
    write_wrong_facts,
    delete_facts,
    put_a_file_there,
    put_a_directory_there,
    copy_another_over,
)

FAULTS: Sequence[Fault] = (
    Fault(
        name="torn-line",
        row=9,
        title="SIGKILL of everything, and the last line of one file is torn at a random byte",
        inject=tear_a_line,
        survived=False,
    ),
    Fault(
        name="torn-anywhere",
        row=9,
        title="every file of a record is cut at every byte: complete lines are read, and writing continues",
        inject=tear_everywhere,
        at_once=True,
        survived=False,
        exhaustive=True,
    ),
    Fault(
        name="byte-altered",
        row=9,
        title="one byte of any file of a record is altered: readers print the same, or name the file; none is silent",
        inject=alter_everywhere,
        at_once=True,
        survived=False,
        exhaustive=True,
    ),
    Fault(
        name="checkpoints-damaged",
        row=10,
        title="SIGKILL of everything; the newest checkpoints are damaged (torn, altered, code): the one before is used",
        inject=damage_checkpoints,
        kind=TORCH,
        survived=False,
    ),
    Fault(
        name="pid-reused",
        row=12,
        title="SIGKILL of the orchestrator or of everything; other processes get the pids of the claims",
        inject=forge_claims,
        survived=False,
    ),
    Fault(
        name="rebooted",
        row=17,
        title="SIGKILL of everything, then a reboot after which other processes have the pids and start times",
        inject=reboot,
        survived=False,
    ),
    Fault(
        name="trial-damaged-running",
        row=19,
        title="a trial's directory is deleted or made unreadable while the sweep runs",
        inject=damage_a_trial(*WHILE_IT_RUNS, running=True),
        kind=LOUD,
        survived=False,
    ),
    Fault(
        name="trial-damaged-between",
        row=19,
        title="SIGKILL of everything, and a trial's directory is deleted, altered or replaced",
        inject=damage_a_trial(*WHILE_NOTHING_RUNS, running=False),
        kind=LOUD,
        survived=False,
    ),
)
