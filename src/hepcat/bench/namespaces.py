"""Two network namespaces joined by a veth pair: load that no other interface of the machine sees.

In: root, and iproute2's `ip`. Out: a Pair. What can go wrong: Skipped, with the reason. What was made is
removed at the end of the context.
"""

import contextlib
import os
import shutil
import subprocess
from typing import Final

from hepcat.bench.measure import Skipped

NEAR: Final = "hcbench0"
FAR: Final = "hcbench1"


def _ip(*words: str) -> None:
    done = subprocess.run(("ip", *words), capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Pair:
    """`near` and `far`: prefixes of a command line that runs in one namespace or the other.

    The interfaces are NEAR and FAR. Neither has an address: only frames that are sent as such cross.
    """

    def __init__(self) -> None:
        """Make them. Raises Skipped."""
        if os.geteuid() != 0:
            raise Skipped("network namespaces need root")
        if not shutil.which("ip"):
            raise Skipped("there is no `ip` command (package iproute2)")
        self._names = [f"hcbench-{os.getpid()}-{end}" for end in ("near", "far")]
        near, far = self._names
        self.near = ["ip", "netns", "exec", near]
        self.far = ["ip", "netns", "exec", far]
        try:
            for name in self._names:
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", near, "link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", far)
            for name, dev in ((near, NEAR), (far, FAR)):
                with contextlib.suppress(Skipped):  # else the host speaks up by itself (RFC 4861)
                    _ip("netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{dev}.disable_ipv6=1")
                _ip("-n", name, "link", "set", dev, "up")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove both, and the pair with them."""
        for name in self._names:
            with contextlib.suppress(Skipped):
                _ip("netns", "del", name)

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
