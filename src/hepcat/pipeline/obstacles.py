"""What would stand in an agent's way, for --dry-run: rights, ports, folders.

In: settings. Out: lines for people. Nothing stays open, and nothing is made. What can go wrong: nothing.
They are warnings: a dry run is often made by another user, or beside the agent that has the ports already.
"""

import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hepcat.config.agent import ProfileSettings
from hepcat.config.settings import Settings
from hepcat.config.values import split_hep_url, split_host_port
from hepcat.errors import HepcatError
from hepcat.sources.listen import open_tcp, open_udp
from hepcat.sources.packet_socket import open_error


def obstacles(settings: Settings, reading: bool) -> list[str]:
    """Return what would be in the way. reading: files are read, and no interface or port is opened."""
    found: list[str] = []
    profiles = () if reading else tuple(p for p in settings.agent.profiles if p.enable)
    if any(not (p.hep or p.collect or p.tzsp) for p in profiles):
        found += _rights()
    if settings.http.listen:
        host, port = split_host_port(settings.http.listen)
        found += _tried(lambda: open_tcp(host, port, "http"))
    for profile in profiles:
        found += _ports(profile)
    for target in settings.agent.targets:
        if target.spool is not None:
            found += _folder(f"target {target.name}: spool", target.spool, settings.user)
        if target.path is not None:
            path = target.path.parent if target.kind == "pcap" else target.path
            found += _folder(f"target {target.name}: path", path, settings.user)
    return found


def _rights() -> Iterator[str]:
    if not hasattr(socket, "AF_PACKET"):
        return
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        told = open_error("interfaces", error)
        yield f"{told}. {told.hint}"


def _ports(profile: ProfileSettings) -> Iterator[str]:
    for url in profile.hep:
        scheme, host, port = split_hep_url(url)
        yield from _tried(_opener(scheme, host, port))
    for address in filter(None, (profile.collect, profile.tzsp)):
        try:
            host, port = split_host_port(address, 37008)
        except ValueError as error:
            yield f"profile {profile.name}: {error}"
            continue
        yield from _tried(_opener("udp", host, port))


def _opener(scheme: str, host: str, port: int) -> Callable[[], Any]:
    if scheme == "udp":
        return lambda: open_udp(host, port, shared=False)
    return lambda: open_tcp(host, port, scheme)


def _tried(make: Callable[[], Any]) -> Iterator[str]:
    try:
        make().close()
    except HepcatError as error:
        yield str(error)


def _folder(what: str, path: Path, user: str | None) -> Iterator[str]:
    """Look at the folder, or at that in which it would be made."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        yield f"{what}: {there} is a file, not a folder"
    elif not _may_write(there, user):
        yield f"{what}: {user or 'this user'} may not write to {there}: chown it, or name another folder"


def _may_write(folder: Path, user: str | None) -> bool:
    if user is None or os.geteuid() != 0:
        return os.access(folder, os.W_OK | os.X_OK)
    try:
        entry, info = pwd.getpwnam(user), folder.stat()
    except (KeyError, OSError):
        return True  # told elsewhere
    if entry.pw_uid == 0:
        return True
    wanted = stat.S_IWOTH | stat.S_IXOTH
    if info.st_uid == entry.pw_uid:
        wanted <<= 6
    elif info.st_gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        wanted <<= 3
    return info.st_mode & wanted == wanted
