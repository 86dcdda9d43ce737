"""The type of a path's file system: on one that several hosts share, a lock of one host may not hold on another."""

from __future__ import annotations

import re
from pathlib import Path

SHARED = frozenset(
    "9p afs beegfs ceph cifs fuse.ceph fuse.ceph-fuse fuse.gcsfuse fuse.glusterfs fuse.juicefs fuse.mfs fuse.rclone "  # noqa: SIM905 - words read better
    "fuse.s3fs fuse.sshfs gfs2 glusterfs gpfs lustre nfs nfs4 ocfs2 orangefs smb2 smb3 smbfs virtiofs".split()
)
"""The types in mountinfo of file systems that several hosts may share."""


def mountinfo() -> str:
    """Return the mounts of this process as the kernel lists them (proc_pid_mountinfo(5)); empty if it does not."""
    try:
        return Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return ""


def type_of(path: Path, mounts: str) -> str:
    """Return the type of the file system of `path`, such as ``ext4`` or ``nfs4``; empty if unknown.

    Args:
        mounts: the text of a mountinfo file.
    """
    resolved = path.resolve()
    found, deepest = "", -1
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5:  # noqa: PLR2004 - the mount point is the fifth
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # Of two mounts on one point the later covers the earlier.
        if resolved.is_relative_to(point) and len(point.parts) >= deepest:
            found, deepest = after.split()[0] if after.split() else "", len(point.parts)
    return found


def is_shared(path: Path) -> bool:
    """Whether other hosts may write there, which this host's kernel does not report."""
    return type_of(path, mountinfo()) in SHARED
