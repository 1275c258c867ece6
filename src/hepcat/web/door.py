"""The door: how many connections there may be, in all and of one address, and how each that was ended ended.

In: a listening socket; addresses of peers. Out: accepted sockets, which know how much they have sent. What
can go wrong: a connection too many is told so (429, 503; over TLS it is only closed), and counted.

It stands where connections are accepted, so that those count too that never finish a TLS handshake. People
and proxies of this machine, and trusted proxies, have no bound of their own address: many come by them.
"""

import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from hepcat.web.accounts.starting import is_loopback_address
from hepcat.web.accounts.throttle import network_of
from hepcat.web.problems import problem_response
from hepcat.web.proxies import Proxies

#: Connections that are turned away before the event loop has its turn again.
_TURNED_AWAY: Final = 64
#: Octets of a request that are read before its connection is closed: unread, they would reset it, and the
#: client might never see why.
_READ: Final = 16_384


class Ended(Enum):
    """Why a connection was ended that the client had not ended, by the name that it is counted under."""

    TOO_MANY = "too_many"
    TOO_MANY_OF_ADDRESS = "too_many_of_address"
    NO_REQUEST = "no_request"
    NOT_READ = "not_read"


ENDED_DOCS: Final = {
    Ended.TOO_MANY: "as many were there as there may be ([web] connections)",
    Ended.TOO_MANY_OF_ADDRESS: "its address had as many as it may have ([web] connections_an_address)",
    Ended.NO_REQUEST: "no request came, or not all of it, in time",
    Ended.NOT_READ: "the client took its answer too slowly, or not at all",
}


class Clients:
    """The connections there are. Belongs to one event loop."""

    def __init__(self, most: int, most_an_address: int, proxies: Proxies) -> None:
        self.most, self._most_an_address, self._proxies = most, most_an_address, proxies
        self._open: Counter[str] = Counter()
        self.ended: Counter[Ended] = Counter()

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open.total()

    def come(self, host: str) -> Ended | None:
        """Count a connection in; return why it may not stay, if so."""
        why = None
        if self.open >= self.most:
            why = Ended.TOO_MANY
        elif self._open[network_of(host)] >= self._most_an_address and not self._is_many(host):
            why = Ended.TOO_MANY_OF_ADDRESS
        if why is None:
            self._open[network_of(host)] += 1
        else:
            self.ended[why] += 1
        return why

    def go(self, host: str) -> None:
        """Count one out."""
        network = network_of(host)
        self._open[network] -= 1
        if self._open[network] <= 0:
            del self._open[network]

    def _is_many(self, host: str) -> bool:
        """Whether many people come by this address."""
        return is_loopback_address(host) or self._proxies.trusts(host)


class Accepted(socket.socket):
    """A client's socket. sent: octets that it has taken."""

    sent = 0
    _left: Callable[[], None] | None = None

    @classmethod
    def of(cls, accepted: socket.socket, left: Callable[[], None]) -> "Accepted":
        """Make it of an accepted socket; `left` is called once it is closed."""
        made = cls(accepted.family, accepted.type, accepted.proto, accepted.detach())
        made._left = left
        return made

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send; count."""
        count = super().send(data, flags)
        self.sent += count
        return count

    def sendmsg(self, buffers: Any, *rest: Any) -> int:
        """Send; count."""
        count = super().sendmsg(buffers, *rest)
        self.sent += count
        return count

    def close(self) -> None:
        """Close; give the place back."""
        left, self._left = self._left, None
        if left is not None:
            left()
        super().close()


class Door(socket.socket):
    """The listening socket. Once open, `sockets` are the accepted ones by descriptor."""

    def __init__(self, listening: socket.socket, clients: Clients, secure: bool = False) -> None:
        """Take the listening socket over. secure: clients speak TLS, and read nothing else."""
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self._clients, self._secure = clients, secure
        self.sockets: dict[int, Accepted] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next client that may come in. Raises BlockingIOError where none is."""
        for _ in range(_TURNED_AWAY):
            accepted, address = super().accept()
            why = self._clients.come(address[0])
            if why is None:
                return self._let_in(accepted, address[0]), address
            self._turn_away(accepted, why)
        raise BlockingIOError

    def _let_in(self, accepted: socket.socket, host: str) -> Accepted:
        number = accepted.fileno()
        made = Accepted.of(accepted, lambda: self._leave(number, host))
        self.sockets[number] = made
        return made

    def _leave(self, number: int, host: str) -> None:
        self.sockets.pop(number, None)
        self._clients.go(host)

    def _turn_away(self, accepted: socket.socket, why: Ended) -> None:
        with contextlib.suppress(OSError), accepted:
            accepted.setblocking(False)
            if not self._secure:
                accepted.send(_REFUSALS[why])
                accepted.shutdown(socket.SHUT_WR)
                accepted.recv(_READ)


def _refusal(status: str, hint: str) -> bytes:
    answer = problem_response(int(status[:3]), "too many connections", hint, kind="busy")
    headers = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {answer.media_type}",
        f"Content-Length: {len(answer.body)}",
        "Retry-After: 10",
        "Connection: close",
    )
    return "\r\n".join([*headers, "", ""]).encode() + bytes(answer.body)


_REFUSALS: Final = {
    Ended.TOO_MANY: _refusal("503 Service Unavailable", "Try again in some seconds."),
    Ended.TOO_MANY_OF_ADDRESS: _refusal("429 Too Many Requests", "Your address has as many as it may have."),
}
