"""`listen` lines of a kamailio.cfg as HEP listeners: there a capture server takes HEP on its SIP sockets.

In: what stands behind `listen=`. Out: URLs of [hep]. What has no counterpart (SCTP, names of hosts and
interfaces, which could mean several addresses) becomes a warning.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hepcat.config.kamailio.tokens import Token
from hepcat.config.report import Report
from hepcat.config.values import join_host_port

_LISTEN: Final = re.compile(
    r"(?:(udp|tcp|tls|sctp):)?(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Listen:
    """One line: "udp:10.0.0.1:9060"."""

    text: str
    token: Token


def hep_listeners(listens: Sequence[Listen], port: int, report: Report) -> Iterator[str]:
    """Yield the URLs. port: where a line names none. Without a line: all addresses, UDP and TCP."""
    if not listens:
        yield from (f"{scheme}://0.0.0.0:{port}" for scheme in ("udp", "tcp"))
    for listen in listens:
        where = listen.token.file, listen.token.line, "listen"
        match = _LISTEN.fullmatch(listen.text)
        if match is None:
            report.warn(*where, f"{listen.text} cannot be read; name the listener in [hep]")
            continue
        scheme, host, number = (match[1] or "").lower(), match[2].strip("[]"), int(match[3] or port)
        host = "0.0.0.0" if host == "*" else host
        if scheme == "sctp":
            report.warn(*where, "HEP over SCTP has no counterpart")
        elif not _is_address(host):
            report.warn(*where, f"{host} is no IP address; name the listener's address in [hep]")
        elif not 1 <= number <= 65535:
            report.problem(*where, f"port {number} is not in 1..65535")
        else:
            yield from (
                f"{one}://{join_host_port(host, number)}" for one in ([scheme] if scheme else ["udp", "tcp"])
            )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
