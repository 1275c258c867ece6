"""Run the kernels uncompiled: HEPCAT_PURE=1 makes Python import their source, not the extension.

In: the environment variable HEPCAT_PURE. Out: with "1", a finder in front of sys.meta_path that
loads each kernel module from its .py file. Used by tests, coverage and debugging; slow.
"""

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

#: Every module compiled by Cython. setup.py reads this list; nothing else names them.
KERNELS: tuple[str, ...] = (
    "hepcat.batch.gather",
    "hepcat.batch.order",
    "hepcat.wire.hep",
    "hepcat.wire.hep_encode",
    "hepcat.wire.hep_stream",
    "hepcat.wire.sip_headers",
    "hepcat.wire.sip_values",
    "hepcat.wire.sip",
    "hepcat.wire.pcap",
    "hepcat.wire.rows",
    "hepcat.wire.links",
    "hepcat.wire.tunnels",
    "hepcat.wire.frames",
    "hepcat.wire.held",
    "hepcat.wire.fragments",
    "hepcat.wire.sctp",
    "hepcat.wire.join",
    "hepcat.wire.bpf",
    "hepcat.wire.tcp_pieces",
    "hepcat.wire.tcp_flows",
    "hepcat.wire.tcp",
    "hepcat.wire.messages",
    "hepcat.wire.websocket",
    "hepcat.wire.start_lines",
    "hepcat.wire.lines",
    "hepcat.wire.framing",
    "hepcat.wire.tpacket",
    "hepcat.wire.scatter",
    "hepcat.wire.rtcp_packets",
    "hepcat.wire.rtcp",
    "hepcat.wire.media_sdp",
    "hepcat.wire.media",
    "hepcat.plans.match",
    "hepcat.plans.tables",
    "hepcat.plans.header_edit",
    "hepcat.plans.pseudonyms",
    "hepcat.plans.rewrite",
    "hepcat.batch.edit",
    "hepcat.stores.clickhouse.packing",
    "hepcat.bench.fill",
    "hepcat.stores.classic.values",
    "hepcat.stores.classic.cells",
    "hepcat.stores.classic.rows",
    "hepcat.stores.classic.hashes",
)


class PureFinder:
    """A meta path finder that answers for the kernels alone, with their source."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the source spec of a kernel, None for every other module."""
        if name not in KERNELS:
            return None
        source = Path(__file__).parent.joinpath(*name.split(".")[1:]).with_suffix(".py")
        loader = importlib.machinery.SourceFileLoader(name, str(source))
        return importlib.util.spec_from_file_location(name, source, loader=loader)


def install() -> None:
    """Put the finder in place when HEPCAT_PURE=1 asks for it."""
    if os.environ.get("HEPCAT_PURE") == "1" and PureFinder not in sys.meta_path:
        sys.meta_path.insert(0, PureFinder)
