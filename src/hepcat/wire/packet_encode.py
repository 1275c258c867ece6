"""Encode messages as the packets that carried them: Ethernet, 802.1Q, IPv4 or IPv6, UDP, TCP or SCTP.

In: addresses and ports, transport, VLAN, payload; one message at a time, in order of time. Out: whole
frames with valid lengths and checksums; TCP with sequence and acknowledgement numbers that go on from
message to message of a connection, SCTP with such TSNs. What can go wrong: a payload that its
transport cannot carry in one datagram is cut there and counted in `cut`.

Not a kernel: export goes at disk speed only up to some 100,000 messages a second, which is enough.
"""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from hepcat.batch.schema import NO_VLAN

LINKTYPE_ETHERNET: Final = 1
UDP: Final = 17
TCP: Final = 6
SCTP: Final = 132

#: MAC addresses that nobody has: locally administered (IEEE 802, bit 2 of the first octet).
_MACS: Final = bytes.fromhex("020000000002020000000001")
_TCP_PSH_ACK: Final = 0x18
_WINDOW: Final = 65_535
_TTL: Final = 64
_DONT_FRAGMENT: Final = 0x4000
_IPV4_MAX: Final = 65_535
#: The longest payload of IP that both families can carry in one packet.
_SEGMENT: Final = _IPV4_MAX - 20 - 20
_SCTP_PIECE: Final = (_IPV4_MAX - 20 - 12 - 16) & ~3


def internet_sum(octets: bytes) -> int:
    """Return the ones' complement sum of 16-bit words (RFC 1071), not yet complemented.

    2^16 is 1 modulo 65535, so the sum is the number itself modulo 65535: one division in C.
    """
    if len(octets) % 2:
        octets += b"\0"
    return int.from_bytes(octets, "big") % 0xFFFF


def checksum(total: int) -> int:
    """Return the complement of a sum of words, folded; never 0, which would mean none (RFC 768)."""
    return 0xFFFF - total % 0xFFFF or 0xFFFF


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C: Final = _crc32c_table()


def crc32c(octets: bytes) -> int:
    """Return the CRC32c of SCTP (RFC 9260 appendix A), reflected polynomial 0x82F63B78."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = _CRC32C[(crc ^ octet) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def parse_address(text: str | None) -> bytes:
    """Return an address as 4 or 16 octets; 0.0.0.0 for what is none."""
    try:
        return ipaddress.ip_address(text or "").packed
    except ValueError:
        return bytes(4)


@dataclass(slots=True)
class _Flow:
    """One direction between two endpoints: what every packet of it begins with."""

    source: bytes
    destination: bytes
    ports: bytes
    #: the pseudo-header's addresses as a sum of words
    addresses_sum: int
    #: SCTP verification tag, one for each direction: it is by the tag that readers tell associations
    tag: int
    #: TCP sequence number, or SCTP TSN, of what comes next; and SCTP's stream sequence number
    next: int = 1
    messages: int = 0


class PacketEncoder:
    """Encodes the messages of one capture file; keeps the numbering of connections.

    `cut`: messages whose payload did not fit into one datagram of UDP.
    """

    def __init__(self) -> None:
        self.cut = 0
        self._flows: dict[tuple[str, str | None, int, str | None, int], _Flow] = {}

    def encode_message(
        self,
        transport: str,
        src_ip: str | None,
        src_port: int,
        dst_ip: str | None,
        dst_port: int,
        vlan: int,
        payload: bytes,
    ) -> list[bytes]:
        """Return the frames of one message: one, or several where TCP or SCTP has to split it.

        transport: udp, tcp, sctp; anything else is written as UDP, which keeps ports and payload
        readable. vlan: NO_VLAN for none.
        """
        flow = self._flow(transport, src_ip, src_port, dst_ip, dst_port)
        if transport == "tcp":
            back = self._flow(transport, dst_ip, dst_port, src_ip, src_port)
            packets = [_encode_tcp(flow, back, part) for part in _parts(payload, _SEGMENT)]
        elif transport == "sctp":
            packets = _encode_sctp(flow, payload)
        else:
            packets = [self._encode_udp(flow, payload)]
        link = _link_header(vlan, flow)
        return [link + packet for packet in packets]

    def _flow(
        self, transport: str, src_ip: str | None, src_port: int, dst_ip: str | None, dst_port: int
    ) -> _Flow:
        key = (transport, src_ip, src_port, dst_ip, dst_port)
        flow = self._flows.get(key)
        if flow is None:
            source, destination = parse_address(src_ip), parse_address(dst_ip)
            if len(source) != len(destination):  # of two families: both as IPv6 (RFC 4291 section 2.5.5.2)
                source, destination = _mapped(source), _mapped(destination)
            ports = struct.pack("!HH", src_port, dst_port)
            addresses = internet_sum(source + destination)
            flow = _Flow(source, destination, ports, addresses, tag=len(self._flows) + 1)
            self._flows[key] = flow
        return flow

    def _encode_udp(self, flow: _Flow, payload: bytes) -> bytes:
        """UDP (RFC 768), the checksum over the pseudo-header too (RFC 8200 section 8.1)."""
        longest = _IPV4_MAX - 8 - (20 if len(flow.source) == 4 else 0)
        if len(payload) > longest:
            payload = payload[:longest]
            self.cut += 1
        length = 8 + len(payload)
        total = flow.addresses_sum + UDP + length + internet_sum(flow.ports) + length + internet_sum(payload)
        return _encode_ip(flow, UDP, flow.ports + struct.pack("!HH", length, checksum(total)) + payload)


def _mapped(address: bytes) -> bytes:
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address


def _parts(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]


def _link_header(vlan: int, flow: _Flow) -> bytes:
    """Ethernet II, with a tag where there is a VLAN (IEEE 802.1Q)."""
    kind = b"\x08\x00" if len(flow.source) == 4 else b"\x86\xdd"
    if vlan == NO_VLAN:
        return _MACS + kind
    return _MACS + struct.pack("!HH", 0x8100, vlan & 0x0FFF) + kind


def _encode_ip(flow: _Flow, protocol: int, body: bytes) -> bytes:
    """IPv4 (RFC 791) or IPv6 (RFC 8200) header before a body."""
    if len(flow.source) == 16:
        return (
            struct.pack("!IHBB", 6 << 28, len(body), protocol, _TTL) + flow.source + flow.destination + body
        )
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(body), 0, _DONT_FRAGMENT, _TTL, protocol)
    total = internet_sum(head) + flow.addresses_sum
    return head + struct.pack("!H", checksum(total)) + flow.source + flow.destination + body


def _encode_tcp(flow: _Flow, back: _Flow, part: bytes) -> bytes:
    """A segment (RFC 9293 section 3.1) that goes on where this direction stopped."""
    head = flow.ports + struct.pack("!IIBBH", flow.next, back.next, 5 << 4, _TCP_PSH_ACK, _WINDOW)
    total = flow.addresses_sum + TCP + 20 + len(part) + internet_sum(head) + internet_sum(part)
    flow.next = (flow.next + len(part)) & 0xFFFFFFFF
    return _encode_ip(flow, TCP, head + struct.pack("!HH", checksum(total), 0) + part)


def _encode_sctp(flow: _Flow, payload: bytes) -> list[bytes]:
    """DATA chunks (RFC 9260 section 3.3.1): stream 0, split by its beginning and ending bits."""
    packets = []
    parts = _parts(payload, _SCTP_PIECE)
    for i, part in enumerate(parts):
        bits = (2 if i == 0 else 0) | (1 if i == len(parts) - 1 else 0)
        chunk = struct.pack("!BBHIHHI", 0, bits, 16 + len(part), flow.next, 0, flow.messages & 0xFFFF, 0)
        body = chunk + part + bytes(-len(part) % 4)
        head = flow.ports + struct.pack("!I", flow.tag)
        crc = crc32c(head + bytes(4) + body)
        packets.append(_encode_ip(flow, SCTP, head + struct.pack("<I", crc) + body))
        flow.next = (flow.next + 1) & 0xFFFFFFFF
    flow.messages += 1
    return packets
