"""Gives up root once the sockets are open.

In: a user's name. Out: the process runs as that user and its groups, with no capability left and no way
to gain one. Sockets that are open stay as they are: a packet socket goes on capturing, and may be bound
again. What can go wrong: HepcatError (no such user, not started as root, folder not writable).

Capabilities belong to a thread: this is done before others are started, which then have none either.
"""

import contextlib
import ctypes
import errno
import os
import pwd
import resource
import struct
import sys
from pathlib import Path
from typing import Any, Final

from hepcat.errors import HepcatError

_PR_SET_NO_NEW_PRIVS: Final = 38  # prctl(2)
_PR_CAPBSET_DROP: Final = 24
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3, capset(2)
_LAST_CAPABILITY: Final = 63


def raise_file_limit() -> None:
    """Take as many file descriptors as the hard limit allows: each stream needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_files_from_others() -> None:
    """Let what this process makes be read by its owner and group only, or by fewer if that was so before."""
    before = os.umask(0o027)
    os.umask(before | 0o027)


def make_data_folder(path: Path, user: str | None) -> None:
    """Make the lake's folder where it is missing, owned by the user that will write to it."""
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder")
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        entry = look_up(user) if user is not None and os.geteuid() == 0 else None
        for folder in reversed(missing):  # those above it too: the user has to get through them
            folder.mkdir(exist_ok=True)
            if entry is not None:
                os.chown(folder, entry.pw_uid, entry.pw_gid)
    except OSError as error:
        raise HepcatError(
            f"cannot make the lake's folder {path}: {error.strerror}",
            "Name another folder with --data, or make this one, writable by the server's user.",
        ) from None


def check_data_folder(path: Path) -> None:
    """Raise HepcatError where the lake's folder cannot be written to."""
    probe = path / f".hepcat-write-{os.getpid()}"
    try:
        probe.write_bytes(b"hepcat\n")
        probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink()
        user = pwd.getpwuid(os.geteuid()).pw_name if _has_name() else str(os.geteuid())
        advice = {
            errno.ENOSPC: "Make room on that disk",
            errno.EDQUOT: "Make room in that quota",
            errno.EROFS: "Mount that disk for writing",
        }.get(error.errno or 0, f"The server runs as {user}: give it the folder (chown {user} {path})")
        raise HepcatError(
            f"cannot write to the lake's folder {path}: {error.strerror}",
            f"{advice}, or name another folder with --data.",
        ) from None


def become(user: str) -> None:
    """Become the user, for good."""
    entry = look_up(user)
    if os.geteuid() != 0:
        if os.geteuid() == entry.pw_uid:
            return
        raise HepcatError(
            f"cannot become user {user}: the server was not started as root",
            "Start it as root or as that user, or remove `user` from the configuration.",
        )
    try:
        if entry.pw_uid != 0:
            _drop_bounding_set()  # while there is still the right to
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)  # from 0 to another: the kernel clears all capabilities (capabilities(7))
    except OSError as error:
        raise HepcatError(f"cannot become user {user}: {error.strerror}") from None
    if entry.pw_uid != 0:
        drop_capabilities()
    else:
        _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def settle(user: str | None) -> None:
    """Become what the process is to be from now on: `user`, where one is set; and without capabilities.

    Without a user, root stays root, for good or bad; who was started as another user with capabilities
    (systemd's AmbientCapabilities) gives them up. Raises HepcatError.
    """
    if user is not None:
        become(user)
    # Whoever has none needs no capset(2), which a unit may forbid.
    if os.geteuid() != 0 and capabilities() != 0:
        drop_capabilities()


def drop_capabilities() -> None:
    """Give up every capability of this thread, and the ways to gain one. Raises HepcatError."""
    if not sys.platform.startswith("linux"):
        return
    _drop_bounding_set()
    libc = _libc()
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    nothing = bytes(2 * 3 * 4)  # effective, permitted and inheritable, in two halves
    if libc.capset(header, nothing) != 0 or capabilities() != 0:
        raise HepcatError("cannot give up capabilities", "Start without them, or as root with `user` set.")


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _drop_bounding_set() -> None:
    """No program that this one starts gets a capability from its file. Takes CAP_SETPCAP, else it stays."""
    libc = _libc()
    for number in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)


def capabilities() -> int:
    """Return the effective and permitted capabilities as a bit mask, 0 where the kernel does not tell."""
    mask = 0
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(("CapEff:", "CapPrm:")):
                mask |= int(line.split()[1], 16)
    return mask


def look_up(user: str) -> pwd.struct_passwd:
    """Return a user's entry. Raises HepcatError."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise HepcatError(
            f"there is no user {user}",
            f"Make it (useradd --system {user}), or change `user` in the configuration.",
        ) from None


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True
