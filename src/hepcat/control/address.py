"""Where the control socket is: what both ends of it have to know.

In: a path. Out: an address that the kernel takes. What can go wrong: OSError where its folder is not there.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: The socket's name in the lake's folder, where the settings name none.
SOCKET_NAME: Final = "hepcat.sock"
#: Octets of a path that a socket's address has room for (unix(7): 108 with the NUL at its end).
_PATH_OCTETS: Final = 107


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """Lend the address of a socket. A path may be longer than an address: then it leads through /proc."""
    name = os.fspath(path)
    if len(os.fsencode(name)) <= _PATH_OCTETS:
        yield name
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
