"""Sink: messages as text that reads like a log. Time, addresses, then the message.

In: an Arrow table of table sip. Out: UTF-8 text to a binary file. What can go wrong: the file's own
OSError. A message is shown as it was, but for line ends (LF) and what could harm a terminal: control
characters and octets that are no UTF-8 are written as \\x.. escapes.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Final

from hepcat.batch.schema import NO_VLAN
from hepcat.sinks.pcap_writer import Message, messages_of_table

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write_text(table: "pa.Table", fileobj: IO[bytes]) -> int:
    """Write a table of messages as text, in order of time; return how many messages."""
    count = 0
    for count, message in enumerate(messages_of_table(table), start=1):  # noqa: B007
        fileobj.write(text_of(message).encode())
    return count


def text_of(message: Message) -> str:
    """Return one message: a line of time and addresses, the message, an empty line."""
    ts, transport, src_ip, src_port, dst_ip, dst_port, vlan, payload = message
    when = (_EPOCH + timedelta(microseconds=ts)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    head = f"{when} {transport} {_host(src_ip, src_port)} -> {_host(dst_ip, dst_port)}"
    if vlan != NO_VLAN:
        head += f" vlan {vlan}"
    return f"{head} ({len(payload)} octets)\n{printable(payload)}\n\n"


def printable(payload: bytes) -> str:
    """Return a payload as text that is safe to show on a terminal, without white space at its end."""
    text = payload.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip()
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _host(ip: str | None, port: int) -> str:
    return f"[{ip}]:{port}" if ip and ":" in ip else f"{ip or '?'}:{port}"
