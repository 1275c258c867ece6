"""Datagrams to one target, straight from a worker's thread: no queue, no other thread.

In: encoded messages of one batch. Out: one `sendmmsg` for up to 1,024 of them, or of pairs of them. What can
go wrong: what the kernel refuses, and what the target's host answers "port unreachable" to (ICMP), is counted
as SINK_FAILED, and the target is then away: `alive` is false, until a probe (one message, sent beside its
proper way) is not refused. A message over what UDP carries is HEP_INEXPRESSIBLE. UDP itself tells nothing of
other losses.
"""

import contextlib
import os
import socket
import threading
import time
from typing import Any, Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.config.values import split_host_port
from hepcat.errors import HepcatError
from hepcat.mmsg import Sender
from hepcat.sinks.block import Array
from hepcat.sinks.sink import SinkTally
from hepcat.sinks.target_url import Place

SEND_BUFFER: Final = 4 * 2**20
_SO_SNDBUFFORCE: Final = 32  # socket(7)
#: UDP's length field without its header, and without IPv4's header (RFC 768, RFC 791).
LONGEST: Final = {socket.AF_INET: 65_535 - 8 - 20, socket.AF_INET6: 65_535 - 8}
#: Seconds between probes of a target that is away, and for its host to refuse one.
PROBE_SECONDS: Final = 2.0
REFUSAL_SECONDS: Final = 0.5
#: Seconds between look-ups of a name.
LOOKUP_SECONDS: Final = 60.0

log = structlog.get_logger("hepcat.sink")


class UdpTarget:
    """A UDP target's address, shared by the workers; a name is looked up in a thread of its own."""

    def __init__(self, name: str, place: Place, bind: str | None) -> None:
        """bind: local ADDRESS or ADDRESS:PORT. Raises HepcatError for one that cannot be read."""
        self.name = name
        self.place = place
        self.bind: tuple[str, int] | None = None
        if bind:
            text = f"[{bind}]" if bind.count(":") > 1 and "[" not in bind else bind
            try:
                host, _, port = text.rpartition(":") if text[-1] != "]" and ":" in text else (text, "", "0")
                self.bind = (split_host_port(f"{host}:1")[0], int(port))
            except ValueError as error:
                raise HepcatError(
                    f"target {name}: bind: {error}", "bind is a local ADDRESS or ADDRESS:PORT."
                ) from None
        #: (family, socket address), None while the name is not known
        self.address: tuple[int, Any] | None = None
        self._told = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look the address up; a name again and again."""
        self._look_up()
        if self.address is None or self.address[1][0] != self.place.host:
            self._thread = threading.Thread(target=self._run, name="resolve", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the look-ups."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(LOOKUP_SECONDS if self.address else PROBE_SECONDS):
            self._look_up()

    def _look_up(self) -> None:
        host, port = self.place.host, self.place.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:
            if not self._told:
                log.error("cannot look up target", target=self.name, host=host, error=str(error))
            self._told = True
            return
        if self.bind is not None:
            family = socket.AF_INET6 if ":" in self.bind[0] else socket.AF_INET
            found = [entry for entry in found if entry[0] == family] or found
        self._told = False
        if self.address is None or self.address not in [(entry[0], entry[4]) for entry in found]:
            self.address = (found[0][0], found[0][4])


class UdpPath:
    """One worker's socket to a UDP target."""

    def __init__(self, target: UdpTarget, name: str, watch: bool = False, pairs: bool = True) -> None:
        """watch: look for refusals before each batch too, so that another target can take it. pairs: of
        datagrams, as in `Sender`.
        """
        self._pairs = pairs
        self.tally = SinkTally(name)
        self._target = target
        self._watch = watch
        self._address: tuple[int, Any] | None = None
        self._sender: Sender | None = None
        self._longest = 0
        self._refused_at = 0.0
        self._probed_at = 0.0
        self._told = ""

    @property
    def alive(self) -> bool:
        """Whether the target is believed to be there."""
        if self._watch and self._sender is not None and self._take_error():
            self._note_refusal()
        return not self._refused_at

    def _take_error(self) -> int:
        assert self._sender is not None
        return self._sender.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _note_refusal(self) -> None:
        if not self._refused_at:
            log.warning("target refuses datagrams", target=self.tally.name, url=str(self._target.place))
        self._refused_at = time.monotonic()

    def send(self, buffer: Array, offsets: Array) -> None:
        """Send messages buffer[offsets[i]:offsets[i + 1]]; those without octets are passed over."""
        sizes = np.diff(offsets)
        if len(sizes) and int(sizes.min()) == 0:
            offsets = np.concatenate([offsets[:1], offsets[1:][sizes > 0]])
            sizes = np.diff(offsets)
        self.tally.taken += len(sizes)
        if len(sizes) == 0 or not self._is_ready(len(sizes)):
            return
        if int(sizes.max()) <= self._longest:
            self._send(buffer, offsets, 0, len(sizes))
            return
        long = np.flatnonzero(sizes > self._longest)
        self.tally.drops[Drop.HEP_INEXPRESSIBLE] += len(long)
        begin = 0
        for end in (*long.tolist(), len(sizes)):
            self._send(buffer, offsets, begin, end - begin)
            begin = end + 1

    def _send(self, buffer: Array, offsets: Array, first: int, count: int) -> None:
        if count <= 0:
            return
        sender = self._sender
        assert sender is not None
        before = sender.stops + sender.icmp_errors
        trouble = ""
        try:
            sender.send(buffer, offsets, first, count)
        except OSError as error:
            trouble = os.strerror(error.errno or 0)
        refused = sender.stops + sender.icmp_errors - before
        refused += sender.last if self._take_error() else 0
        refused = min(refused, sender.done)
        self.tally.sent += sender.done - refused
        self.tally.octets += int(offsets[first + sender.done] - offsets[first])
        self.tally.drops[Drop.SINK_FAILED] += count - sender.done + refused
        if trouble and trouble != self._told:
            log.error("cannot send", target=self.tally.name, url=str(self._target.place), error=trouble)
        self._told = trouble
        if refused or trouble:
            self._note_refusal()
        elif self._refused_at and time.monotonic() - self._refused_at > REFUSAL_SECONDS:
            self._refused_at = 0.0

    def probe(self, buffer: Array, offsets: Array) -> None:
        """Send the first message to a target that is away, now and then; see whether it is refused."""
        now = time.monotonic()
        if not self._refused_at or len(offsets) < 2:
            return
        if self._probed_at > self._refused_at and now - self._probed_at > REFUSAL_SECONDS:
            self._refused_at = 0.0  # the last probe was not refused
            log.info("target takes datagrams again", target=self.tally.name, url=str(self._target.place))
        elif now - max(self._probed_at, self._refused_at) > PROBE_SECONDS and self._is_ready(0):
            assert self._sender is not None
            self._probed_at = now
            with contextlib.suppress(OSError):
                self._sender.sock.send(buffer[int(offsets[0]) : int(offsets[1])].tobytes())

    def _is_ready(self, records: int) -> bool:
        """Make the socket where there is none for this address; else count the records as failed."""
        address = self._target.address
        if address is not None and (self._sender is None or address != self._address):
            self.close()
            try:
                self._sender = Sender(self._open(*address), pairs=self._pairs)
                self._address = address
                self._longest = LONGEST.get(socket.AddressFamily(address[0]), LONGEST[socket.AF_INET])
            except OSError as error:
                if self._told != str(error):
                    self._told = str(error)
                    log.error("cannot send", target=self.tally.name, error=error.strerror or str(error))
        if self._sender is None:
            self.tally.drops[Drop.SINK_FAILED] += records
        return self._sender is not None

    def _open(self, family: int, address: Any) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)
            except OSError:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if self._target.bind is not None:
                if self._target.bind[1]:  # several workers send from the one port that was asked for
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind(self._target.bind)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Close the socket."""
        if self._sender is not None:
            self._sender.sock.close()
            self._sender = None
