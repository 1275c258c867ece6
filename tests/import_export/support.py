"""What tshark reads in a capture, and what hepcat does, as rows that can be compared."""

import functools
import ipaddress
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from hepcat.batch.layout import Batch
from tests.support import SHARED, need

CAPTURES = sorted((SHARED / "captures").glob("*.pcap*"))

#: SIP that is directly in UDP, that in IP, that in the link: what `import` is to find.
PLAIN = "(sip.Method || sip.Status-Code) && !icmp && !icmpv6"


class Row(NamedTuple):
    """One message. ts in microseconds."""

    ts: int
    src: str
    sport: int
    dst: str
    dport: int
    method: str
    status: int
    call_id: str


@functools.cache
def tshark(path: Path, query: str = PLAIN) -> tuple[Row, ...]:
    """Read the SIP messages of a capture with tshark."""
    need("tshark")
    fields = [
        *("frame.time_epoch", "ip.src", "ipv6.src", "udp.srcport", "tcp.srcport", "sctp.srcport"),
        *("ip.dst", "ipv6.dst", "udp.dstport", "tcp.dstport", "sctp.dstport"),
        *("sip.Method", "sip.CSeq.method", "sip.Status-Code", "sip.Call-ID"),
    ]
    command = ["tshark", "-n", "-r", str(path), "-Y", query, "-T", "fields", "-E", "separator=/t"]
    command += ["-E", "occurrence=f", *[part for field in fields for part in ("-e", field)]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return tuple(_row(line.split("\t")) for line in done.stdout.splitlines())


def _row(values: list[str]) -> Row:
    time, s4, s6, su, st, ss, d4, d6, du, dt, ds, method, cseq, status, call_id = values
    seconds, _, fraction = time.partition(".")
    return Row(
        int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0")),
        address(s4 or s6),
        int(su or st or ss),
        address(d4 or d6),
        int(du or dt or ds),
        method or cseq,
        int(status or 0),
        call_id,
    )


def address(text: str) -> str:
    """Return an address in the one spelling that is compared: mapped IPv4 has several."""
    return str(ipaddress.ip_address(text))


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line within this process (a start of Python each would take most of the time)."""
    from hepcat.cli.main import main

    monkeypatch.setattr(sys, "argv", ["hepcat", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def rows_of(batches: Iterable[Batch]) -> list[Row]:
    """Return the messages of batches."""
    found = []
    for batch in batches:
        for i in range(batch.n):
            found.append(
                Row(
                    int(batch.ts[i]),
                    batch.address(i, "src_ip"),
                    int(batch.src_port[i]),
                    batch.address(i, "dst_ip"),
                    int(batch.dst_port[i]),
                    (batch.text(i, "method") or b"").decode(),
                    int(batch.status[i]),
                    (batch.text(i, "call_id") or b"").decode(),
                )
            )
    return found
