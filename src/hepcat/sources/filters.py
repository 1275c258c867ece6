"""Filter expressions to programs: libpcap's language in, instructions for a packet socket out.

In: an expression, and what it is for (a live socket with or without link header, raw IP, a link type of
files). Out: `Filter`. What can go wrong: HepcatError with the expression, where it stands, and libpcap's
own words.

What is added to what libpcap makes of the expression:
- `pass_fragments`: IPv4 and IPv6 fragments pass. Only the first fragment of a datagram has ports, so a
  filter on a port would lose the rest of a large message. They are put together later on and judged then,
  by `Filter.raw()`. (The test stands before the expression: libpcap's `vlan` and its like move the offsets
  of everything that follows them.)
- Tags: on Ethernet the expression is judged as if VLAN tags, MPLS labels and PPPoE were not there
  (hepcat.sources.filter_program), so `port 5060` finds SIP behind them. An expression that itself names
  vlan, mpls, pppoes or octets of the Ethernet header is left as it is: its author counts them himself.
  `vlan` also finds the tag that the kernel took off, which takes the right to open a packet socket.
"""

import contextlib
import re
from dataclasses import dataclass
from typing import Any, Final

from hepcat.errors import HepcatError
from hepcat.sources.filter_program import (
    ETHERTYPE_OF_KERNEL,
    MAX_INSTRUCTIONS,
    Instruction,
    ProgramError,
    relinked,
    shifted,
    widened,
)

#: What a filter is for: a live socket ("ethernet": with Ethernet headers; "cooked": behind the link
#: header), raw IP packets, or the link type of a file (a number).
Link = str | int
LIVE_LINKS: Final = ("ethernet", "cooked", "raw")

#: A fragment of IPv4 (more to come, or an offset) or of IPv6 (also behind a hop-by-hop header).
FRAGMENTS: Final = "(ip[6:2] & 0x3fff != 0) or (ip6[6] == 44) or (ip6[6] == 0 and ip6[40] == 44)"
#: Packets that carry packets, as the kernel can tell them: IP in IP, GRE, VXLAN, GENEVE, GTP-U, TZSP, HPERM.
TUNNELS: Final = (
    "(ip proto 4 or ip proto 41 or ip6 proto 4 or ip6 proto 41 or proto 47 "
    "or udp port 4789 or udp port 8472 or udp port 6081 or udp port 2152 or udp port 37008 or udp port 7932)"
)

_DLT_ETHERNET, _DLT_RAW = 1, 12
#: Link types of files whose programs are made from Ethernet's: where EtherType and payload stand.
_RELINKED: Final[dict[int, tuple[int, int]]] = {113: (14, 16), 276: (0, 20)}
_RAW_LINKS: Final = frozenset({12, 14, 101, 228, 229})
#: Link types of files that begin with an address family, before the IP header.
_FAMILY_LINKS: Final = frozenset({0, 108})
_FAMILY_OCTETS: Final = 4
#: The expression counts tags, labels or octets of the Ethernet header itself.
_OWN_OFFSETS: Final = re.compile(r"\b(vlan|mpls|pppoes|pppoed)\b|\b(ether|link)\s*\[|\bether\s+proto\b")
#: Instructions of an expression before it is optimized, which takes time that grows with their cube.
_LONGEST: Final = 10_000
_LINK_TESTS: Final = re.compile(r"\b(vlan|mpls|pppoes)(\s+\d+)?\s+(and|&&)\s+")
_VLAN: Final = re.compile(r"\bvlan\b")
_HINT: Final = "The language is that of tcpdump (man pcap-filter); `tcpdump -d 'EXPRESSION'` tries one."

_SIMPLER: Final = (
    "Use portrange and net instead of long lists; name an interface where link addresses matter."
)


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter. It returns how many octets to capture (0: not this packet).

    instructions: (code, jt, jf, k) each. expression: as the user wrote it. text: as libpcap got it.
    where: what to name in errors: profile, or file and line. note: what the operator should know of it.
    """

    instructions: tuple[Instruction, ...]
    expression: str
    text: str
    link: Link
    pass_fragments: bool
    snap_len: int
    where: str = ""
    note: str = ""

    def raw(self) -> "Filter | None":
        """Return the same expression for whole raw IP packets; None where it needs a link header.

        Packets that were put together have no tags any more, so "vlan 5 and" and its like are left out.
        """
        for expression in (self.expression, _LINK_TESTS.sub("", self.expression)):
            with contextlib.suppress(HepcatError):
                return compile_filter(expression, "raw", False, self.snap_len, where=self.where)
        return None

    def for_link(self, link: Link) -> "Filter":
        """Return the same filter for another link. Raises HepcatError where it needs Ethernet's header."""
        if link == self.link:
            return self
        return compile_filter(self.expression, link, self.pass_fragments, self.snap_len, where=self.where)


def compile_filter(
    expression: str,
    link: Link = "ethernet",
    pass_fragments: bool = False,
    snap_len: int = 65535,
    *,
    where: str = "",
) -> Filter:
    """Compile an expression; an empty one takes everything.

    link: "ethernet", "cooked" or "raw", or the link type of a file (frames of one that is not read all pass,
    and are counted further on). pass_fragments: let IP fragments through. snap_len: what the program
    returns for a packet that matches. where: profile, or file and line, for errors. Raises HepcatError.
    """
    expression = " ".join(expression.split())
    text = f"{FRAGMENTS} or ({expression})" if pass_fragments and expression else expression
    try:
        # It is judged as it was written: no error shall name what was added.
        _check(expression, _DLT_RAW if _is_raw(link) else _DLT_ETHERNET)
        program, note = _program(text, link, snap_len)
    except _PcapError as error:
        raise _refusal(expression, where, str(error), _HINT) from None
    except ProgramError as error:
        raise _refusal(expression, where, str(error), _SIMPLER) from None
    return Filter(tuple(program), expression, text, link, pass_fragments, snap_len, where, note)


def accept_nothing() -> tuple[Instruction, ...]:
    """A program that no packet passes, for a socket that is not ready yet."""
    return ((0x06, 0, 0, 0),)


def names_link_octets(expression: str) -> bool:
    """Whether the expression counts tags, labels or octets of the Ethernet header itself."""
    return _OWN_OFFSETS.search(expression) is not None


def widen_for_tunnels(expression: str) -> str:
    """Return the expression or any packet that carries another one: its inside is judged later on."""
    return f"{TUNNELS} or ({expression})" if expression.strip() else ""


class _PcapError(Exception):
    """libpcap's words."""


def _refusal(expression: str, where: str, why: str, hint: str) -> HepcatError:
    begin = f"{where}: " if where else ""
    return HepcatError(f'{begin}filter "{expression}": {why}', hint)


def _is_raw(link: Link) -> bool:
    return link == "raw" or link in _RAW_LINKS


def _program(text: str, link: Link, snap_len: int) -> tuple[list[Instruction], str]:
    """Compile for a link what has been widened in words; and a note."""
    if isinstance(link, str) and link not in LIVE_LINKS:
        raise ValueError(f"link {link}: {', '.join(LIVE_LINKS)}, or a number")
    if _is_raw(link):
        return _compile(text, _DLT_RAW, snap_len), ""
    if link in _FAMILY_LINKS:
        return shifted(_compile(text, _DLT_RAW, snap_len), _FAMILY_OCTETS), ""
    if isinstance(link, int) and link != _DLT_ETHERNET and link not in _RELINKED:
        return _compile("", _DLT_ETHERNET, snap_len), ""  # no such frame is read: it is counted where it ends
    if isinstance(link, str) and _VLAN.search(text):
        program, note = _compile_live(text, snap_len), ""
    else:
        program, note = _widen(text, _compile(text, _DLT_ETHERNET, snap_len), snap_len)
    if link == "cooked":
        program = relinked(program, ETHERTYPE_OF_KERNEL, 0, length=14)
    elif isinstance(link, int) and link in _RELINKED:
        program = relinked(program, *_RELINKED[link])
    if len(program) > MAX_INSTRUCTIONS:
        raise ProgramError(f"it comes to {len(program)} instructions; the kernel takes {MAX_INSTRUCTIONS}")
    return program, note


def _widen(text: str, program: list[Instruction], snap_len: int) -> tuple[list[Instruction], str]:
    """Let the program see behind tags; where that makes it too long, it is better than none as it is."""
    if names_link_octets(text):
        return program, ""
    raw: list[Instruction] | None = None
    with contextlib.suppress(_PcapError):
        raw = _compile(text, _DLT_RAW, snap_len)
    try:
        return widened(program, raw), ""
    except ProgramError as error:
        return program, f"the filter does not see behind VLAN tags, MPLS and PPPoE: {error}"


def _cypcap() -> Any:
    """Import libpcap; late, since not every agent has a filter."""
    try:
        import cypcap  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise HepcatError(
            f"filters need libpcap: {error}", "Install the package cypcap, which brings it."
        ) from None
    return cypcap


def _check(expression: str, link: int) -> None:
    """Raise for an expression that is wrong, or so long that libpcap would optimize it for minutes."""
    if len(_compile(expression, link, 65535, optimize=False)) > _LONGEST:
        raise ProgramError("it is too long")


def _compile(text: str, link: int, snap_len: int, optimize: bool = True) -> list[Instruction]:
    """Compile for a link type, whatever the machine has."""
    cypcap = _cypcap()
    try:
        pcap = cypcap.open_dead(cypcap.DatalinkType(link), snap_len)
    except ValueError:
        raise _PcapError(f"link type {link} is not one that filters are made for") from None
    try:
        return [_plain(i) for i in pcap.compile(text, optimize=optimize, netmask=cypcap.NETMASK_UNKNOWN)]
    except cypcap.Error as error:
        raise _PcapError(_words(error)) from None
    finally:
        pcap.close()


def _compile_live(text: str, snap_len: int) -> list[Instruction]:
    """Compile for Linux's packet sockets: `vlan` then asks the kernel for the tag that it took off.

    libpcap does that only for a capture which is open; the loopback device, there in every namespace, is
    opened for it, and closed before a packet is read.
    """
    cypcap = _cypcap()
    pcap = cypcap.create("lo")
    try:
        pcap.set_snaplen(snap_len)
        pcap.set_buffer_size(1 << 16)
        pcap.activate()
        return [_plain(i) for i in pcap.compile(text, optimize=True, netmask=cypcap.NETMASK_UNKNOWN)]
    except cypcap.Error as error:
        words = _words(error)
        if "permi" in words.lower():
            words = "`vlan` asks the kernel, which takes the right to capture (root, or CAP_NET_RAW)"
        raise _PcapError(words) from None
    finally:
        pcap.close()


def _words(error: Any) -> str:
    return str(getattr(error, "msg", "") or error)


def _plain(instruction: Any) -> Instruction:
    code, jt, jf, k = instruction
    return int(code), int(jt), int(jf), int(k)
