"""Live sources of an interface: the ring of AF_PACKET where there is one, libpcap elsewhere.

In: an interface's name and how to capture on it. Out: one open source a worker. What can go wrong:
HepcatError (no such interface, no right to capture), with what to do.
"""

import socket
from typing import Final

from hepcat.config.agent import ProfileSettings
from hepcat.sources.filters import Filter
from hepcat.sources.frame_source import FrameSource

#: Linux has packet sockets; other systems capture through libpcap.
HAS_RING: Final = hasattr(socket, "AF_PACKET")


def open_device(dev: str, filter: Filter | None, settings: ProfileSettings) -> list[FrameSource]:
    """Open an interface for a profile's workers."""
    if HAS_RING:
        from hepcat.sources.af_packet import open_rings

        return list(
            open_rings(
                dev,
                settings.workers,
                filter,
                settings.ring_buffer,
                settings.snap_len,
                settings.timeout,
                settings.promisc,
            )
        )
    from hepcat.sources.live_pcap import LivePcapSource

    return [LivePcapSource(dev, filter, settings.snap_len, settings.timeout, settings.promisc)]
