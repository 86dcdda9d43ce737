"""The one way to open what belongs to a run: a run's directory may come from a stranger, so it is data.

1. The run's directory itself may be a link, or lie below one: a user chose that. No link inside of it is followed,
   neither for reading nor for writing, so that nothing outside of it is read as part of it, changed or deleted.
2. Only regular files are opened, and no opening waits: a pipe, a socket and a device are refused by what they are.
3. A file is read at once only up to a bound, so that a file of a terabyte without content does not fill the memory.

Every path is walked from the run's directory by descriptors (openat(2) with O_NOFOLLOW), so what was checked is what is
used, even if another process replaces a folder by a link in between. What is only read is opened by its path first, and
kept if the kernel says that the open file has the path that it should have: for thousands of trials that is faster.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path

TRIALS = "trials"
"""The folder of a run with a folder for each trial."""

MOST_BYTES = 64 << 20
"""Maximum size of a file that is read at once: `trial.json`, `spec.json` and other files that are not appended to."""

NO_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""The errors of opening a link, a pipe, a socket, a device or a directory in the place of a file."""

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FOLDER = _READ | getattr(os, "O_DIRECTORY", 0)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

MOST_REMEMBERED = 1000
_REAL: dict[str | Path, str] = {}
"""The real paths of runs. If one is wrong by now, no open file has the path that is expected: the path is walked."""

_BY_DESCRIPTOR = os.open in os.supports_dir_fd
"""False on Windows, where a record can be read but no trial can run."""


def root_of(path: Path) -> Path:
    """Return the run that a path of the layout belongs to, by its names alone.

    That is the directory above ``trials/<number>``, or the parent of a path without these. The root of a path in
    another folder of a run, such as ``inbox``, has to be given.
    """
    return Path(_split(path, None)[0])


def open_file(path: Path, flags: int = os.O_RDONLY, *, root: Path | None = None, mode: int = 0o666) -> int:
    """Open a regular file of a run, as `os.open`; return the descriptor.

    Args:
        path: the file.
        flags: as for `os.open`; with O_CREAT, the folder of the file has to exist.
        root: the run's directory; by default `root_of` the path.
        mode: the permissions of a file that is created.

    Raises:
        FileNotFoundError: the file does not exist.
        OSError: the file or a folder on the way to it is a link, the file is not a regular file, or the system refuses.
    """
    base, names = _split(path, root)
    flags |= _READ | _SAFE
    direct = None if flags & _WRITING else _open_directly(path, flags, base, names)
    if direct is not None:
        fd = direct
    elif not _BY_DESCRIPTOR:
        _refuse_links(base, names)
        fd = os.open(path, flags, mode)
    else:
        folder = _walk(base, names[:-1])
        try:
            fd = os.open(names[-1], flags, mode, dir_fd=folder)
        except OSError as error:
            raise _in_words(error, path, names[-1], folder) from error
        finally:
            os.close(folder)
    found = os.fstat(fd).st_mode
    if not stat.S_ISREG(found):
        os.close(fd)
        raise _unlike(path, found)
    if flags & _WRITING:
        os.set_blocking(fd, True)  # it may be inherited as the output of a program
    return fd


def reading(path: Path, *, root: Path | None = None) -> BufferedReader:
    """Return a regular file of a run, opened for reading.

    Raises:
        OSError: as `open_file`.
    """
    return os.fdopen(open_file(path, root=root), "rb")


def read_bytes(path: Path, *, root: Path | None = None, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file of a run.

    Raises:
        OSError: as `open_file`, or the file has more than `most` bytes.
    """
    with reading(path, root=root) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {most:,} are read", str(path))
        return file.read(most)


@contextlib.contextmanager
def folder(path: Path, *, root: Path | None = None, make: bool = False) -> Iterator[int]:
    """Open a folder of a run, to change what is in it with `dir_fd`.

    Args:
        path: the folder; it may be the run's directory itself.
        root: the run's directory; by default `root_of` the path.
        make: create the folder, and those on the way to it below the run's directory.

    Raises:
        OSError: a folder on the way is a link or something else, does not exist, or cannot be created.
    """
    fd = _walk(*_split(path, root), make=make)
    try:
        yield fd
    finally:
        os.close(fd)


def make_folder(path: Path, *, root: Path | None = None) -> None:
    """Create a folder of a run, and those on the way to it below the run's directory.

    Raises:
        OSError: as `folder`.
    """
    with folder(path, root=root, make=True):
        pass


def listed(path: Path, *, root: Path | None = None) -> list[str]:
    """Return the names in a folder of a run, in order; none if there is no such folder.

    Raises:
        OSError: the folder is a link, something else stands in its place, or it cannot be read.
    """
    base, names = _split(path, root)
    try:
        if not _BY_DESCRIPTOR:
            _refuse_links(base, names)
            return sorted(os.listdir(path))  # noqa: PTH208 - names alone are used
        direct = _open_directly(path, _FOLDER | _SAFE, base, names)
        fd = _walk(base, names) if direct is None else direct
    except FileNotFoundError:
        return []
    try:
        return sorted(os.listdir(fd))  # noqa: PTH208 - by descriptor
    finally:
        os.close(fd)


def remove(path: Path, *, root: Path | None = None) -> None:
    """Remove a file, or a link itself, from a run; nothing happens where it is gone, or its folder is.

    Raises:
        OSError: a folder on the way is a link, or the system refuses.
    """
    with contextlib.suppress(FileNotFoundError), folder(path.parent, root=root or root_of(path)) as fd:
        os.unlink(path.name, dir_fd=fd)


def remove_folder(path: Path, *, root: Path | None = None) -> None:
    """Remove a folder of a run with all that is in it; of a link in it, or in its place, only the link itself.

    Nothing happens where it is gone.

    Raises:
        OSError: a folder on the way is a link, the folders are nested too deeply, or the system refuses.
    """
    with contextlib.suppress(FileNotFoundError), folder(path.parent, root=root or root_of(path)) as fd:
        if not stat.S_ISDIR(os.stat(path.name, dir_fd=fd, follow_symlinks=False).st_mode):
            os.unlink(path.name, dir_fd=fd)
            return
        try:
            shutil.rmtree(path.name, dir_fd=fd)  # it follows no link
        except RecursionError as error:
            raise OSError(errno.ELOOP, "its folders are nested too deeply to be removed", str(path)) from error


def kind_of(path: Path, kinds: Sequence[Callable[[int], bool]], *, root: Path | None = None) -> int:
    """Return the mode of a file or folder of a run, which has to be of one of these kinds; no link is followed.

    Args:
        path: the file or folder.
        kinds: such as `stat.S_ISREG`.
        root: the run's directory; by default `root_of` the path.

    Raises:
        OSError: it does not exist, is a link or of another kind, or a folder on the way is a link.
    """
    root = root or root_of(path)
    with folder(path.parent, root=root) as there:
        mode = os.stat(path.name, dir_fd=there, follow_symlinks=False).st_mode
    if not any(is_kind(mode) for is_kind in kinds):
        raise _unlike(path, mode)
    return mode


def link(source: Path, target: Path, *, root: Path | None = None, from_root: Path | None = None) -> None:
    """Give a file of a run, or a folder with all its files, a second name; copy it if the disk has no links.

    What exists at `target` already is left as it is. Folders on the way to `target` are created.

    Args:
        source: the file or folder.
        target: the new name, in this run or another one.
        root: the directory of the run of the target; by default `root_of` it.
        from_root: the directory of the run of the source; by default `root_of` it.

    Raises:
        OSError: as `open_file`, a folder has a link in it or is nested too deeply, or the system refuses.
    """
    root, from_root = root or root_of(target), from_root or root_of(source)
    _link(source, target, root, from_root, _DEEPEST)


def _link(source: Path, target: Path, root: Path, from_root: Path, depth: int) -> None:
    if depth == 0:
        raise OSError(errno.ELOOP, "its folders are nested too deeply", str(source))
    if stat.S_ISDIR(kind_of(source, (stat.S_ISREG, stat.S_ISDIR), root=from_root)):
        make_folder(target, root=root)
        for name in listed(source, root=from_root):
            _link(source / name, target / name, root, from_root, depth - 1)
        return
    with folder(source.parent, root=from_root) as there, folder(target.parent, root=root, make=True) as here:
        try:
            os.link(source.name, target.name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _copy(source, target, root, from_root, here)
        else:
            kind_of(target, (stat.S_ISREG,), root=root)  # a link may have come in the place of the source meanwhile


_DEEPEST = 50
"""Maximum depth of the folders of a checkpoint."""

_NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""How a file system answers that it makes no hard links, or not this one."""


def _copy(source: Path, target: Path, root: Path, from_root: Path, folder_fd: int) -> None:
    temporary = f".{target.name}.{os.getpid()}.tmp"
    with reading(source, root=from_root) as given:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        copied = open_file(target.with_name(temporary), flags, root=root)
        with os.fdopen(copied, "wb") as copy:
            shutil.copyfileobj(given, copy)
    os.replace(temporary, target.name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)


def _split(path: Path, root: Path | None) -> tuple[str | Path, Sequence[str]]:
    """Return the run's directory, and the names that lead from there to a path."""
    if root is not None:
        return root, path.relative_to(root).parts
    text = os.fspath(path)
    base, found, rest = text.rpartition(f"{os.sep}{TRIALS}{os.sep}")
    if not found and text.startswith(f"{TRIALS}{os.sep}"):
        base, found, rest = os.curdir, os.sep, text[len(TRIALS) + 1 :]
    names = rest.split(os.sep)  # noqa: PTH206 - making a Path takes longer
    if found and names[0].isdecimal():
        return base or os.sep, (TRIALS, *names)
    return path.parent, (path.name,)


def _open_directly(path: Path, flags: int, base: str | Path, names: Sequence[str]) -> int | None:
    """Open a path at once; return None if it cannot be opened, or if a link inside the run was followed on the way."""
    if base not in _REAL:
        if len(_REAL) >= MOST_REMEMBERED:
            _REAL.clear()
        _REAL[base] = os.path.realpath(base)
    try:
        fd = os.open(path, flags)
    except OSError:
        return None
    try:
        if os.readlink(f"/proc/self/fd/{fd}") == _joined(_REAL[base], names):  # noqa: PTH115 - faster
            return fd
    except OSError:  # a system without /proc
        pass
    os.close(fd)
    _REAL.pop(base, None)  # perhaps the directory of the run was moved
    return None


def _joined(base: str, names: Sequence[str]) -> str:
    return "/".join(("" if base == "/" else base, *names))


def _walk(base: str | Path, names: Sequence[str], *, make: bool = False) -> int:
    """Return a descriptor of the folder that the names lead to, from a directory to which links may lead."""
    if os.pardir in names:
        raise OSError(errno.EINVAL, f"{os.pardir} leads out of a run", str(Path(base, *names)))
    if make:
        Path(base).mkdir(parents=True, exist_ok=True)
    fd = os.open(base, _FOLDER)
    for count, name in enumerate(names, 1):
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=fd)
            below = os.open(name, _FOLDER | _SAFE, dir_fd=fd)
        except OSError as error:
            raise _in_words(error, Path(base, *names[:count]), name, fd) from error
        finally:
            os.close(fd)
        fd = below
    return fd


def _refuse_links(base: str | Path, names: Sequence[str]) -> None:
    path = Path(base)
    for name in names:
        path /= name
        if path.is_symlink():
            raise _unlike(path, stat.S_IFLNK)


def _in_words(error: OSError, path: Path, name: str, folder: int) -> OSError:
    """Return an error of opening `name` in a folder that says what stands there, if that is the reason."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if error.errno != errno.ENOTDIR or stat.S_ISLNK(found):
                return _unlike(path, found)
    return OSError(error.errno, error.strerror, str(path))


def _unlike(path: Path, mode: int) -> OSError:
    """Return the error for what stands in the place of a file, or of a folder on the way to it."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        return OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind == stat.S_IFLNK:
        return OSError(errno.ELOOP, f"{path.name} is a link, which is not followed inside a run", str(path))
    return OSError(errno.ENXIO, f"{_KINDS.get(kind, 'something else')} stands in its place", str(path))


_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
