"""Messages that come as HEP, or as plain SIP over UDP, on their way through a plan.

In: what a source's thread read. Out: rows in the sinks, and counts. `PlanQueue` stands where the server has
its queue to the store: a batch that is put is planned at once, in the source's own thread.
"""

import socket
import threading
import time
from typing import Any, Final

import numpy as np
import structlog

from hepcat.batch.drops import Drop
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FIELD_INDEX, FLAG_REQUEST, HEP_SIP, MAX_RECORD
from hepcat.config.values import split_host_port
from hepcat.errors import HepcatError
from hepcat.mmsg import socket_drops
from hepcat.pipeline.capture import AgentTally, Planner
from hepcat.sources.source import Tally
from hepcat.wire.collect import clear, new_batch
from hepcat.wire.sip import index_sip, sip_mask

#: Datagrams of plain SIP taken at once; reports come a few a second.
_ROWS: Final = 64
#: Seconds to read what had arrived when told to stop.
_DRAIN_SECONDS: Final = 2.0
_PAYLOAD: Final = FIELD_INDEX["payload"]
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"

log = structlog.get_logger("hepcat.collect")


class PlanQueue:
    """Takes batches of a `HepIntake` and runs them through a plan. Never refuses, never waits."""

    def __init__(self, planner: Planner) -> None:
        """planner: of one source's thread alone."""
        self._planner = planner

    def put(self, batch: Batch, tally: Tally) -> Drop | None:
        """Run the plan; `handed` and `stored` of the tally stay equal: nothing is under way here."""
        self._planner.run(batch)
        tally.stored += batch.n
        return None


class SipCollector:
    """Receives plain SIP over UDP, such as RTCP-XR reports in PUBLISH, and answers where the plan says so.

    One datagram costs some Python: reports are few, and a flood of them ends in the socket's buffer.
    """

    def __init__(
        self,
        listen: str,
        planner: Planner,
        tally: AgentTally,
        extra: tuple[str, ...],
        answer: bool,
        other_type: int = 0,
    ) -> None:
        """Bind ADDRESS:PORT. answer: requests that the plan leaves unanswered get 200. other_type: HEP
        protocol type of what is not SIP. Raises HepcatError.
        """
        self.url = f"sip+udp://{listen}"
        self.planner = planner
        self._tally = tally
        self._answer = answer
        self._other_type = other_type
        self._answered: set[int] = set()  # rows of the batch that the plan has answered
        host, port = split_host_port(listen)
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            self._sock.bind((host, port))
        except OSError as error:
            self._sock.close()
            raise HepcatError(
                f"cannot listen for SIP on {listen}: {error.strerror}", "Choose another address or port."
            ) from None
        self._sock.settimeout(0.5)
        self._local = _octets_of(self._sock.getsockname())
        self._batch = new_batch(_ROWS, extra)
        self._give_up = float("inf")
        self._told = False
        self._kernel_drops = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sip {listen}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask to end; what has arrived already is still read."""
        self._give_up = time.monotonic() + _DRAIN_SECONDS
        self._stop.set()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def close(self) -> None:
        """Close the socket of a collector that was never started."""
        self._sock.close()

    def reply(self, batch: Batch, rows: Array, code: int, text: str) -> int:
        """Answer requests (RFC 3261 section 8.2.6); return how many answers were sent."""
        sent = 0
        self._answered.update(rows.tolist())
        for row in rows.tolist():
            payload = batch.text(row, "payload") or b""
            answer = make_response(payload, code, text)
            # An ACK is never answered (RFC 3261 section 17).
            if answer and batch.flags[row] & FLAG_REQUEST and not payload.startswith(b"ACK "):
                host = _host_of(batch.src_ip[row], self._family)
                try:
                    self._sock.sendto(answer, (host, int(batch.src_port[row])))
                    sent += 1
                except OSError as error:  # a peer can make this happen: told once, until one is answered
                    if not self._told:
                        log.warning("cannot answer", peer=host, error=error.strerror)
                    self._told = True
        self._told = self._told and not sent
        return sent

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                first = self._sock.recvfrom(MAX_RECORD)
            except TimeoutError:
                continue
            except OSError as error:
                log.error("cannot receive; trying again in a second", url=self.url, error=error.strerror)
                self._stop.wait(1)
                continue
            self._take([first, *self._more()])
        while left := self._more():  # what had arrived by then; a flood ends with its socket
            self._take(left)
            if time.monotonic() > self._give_up:
                break
        self._sock.close()

    def _more(self) -> list[tuple[bytes, Any]]:
        found: list[tuple[bytes, Any]] = []
        while len(found) < _ROWS - 1:
            try:
                found.append(self._sock.recvfrom(MAX_RECORD, socket.MSG_DONTWAIT))
            except OSError:
                break
        return found

    def _take(self, datagrams: list[tuple[bytes, Any]]) -> None:
        batch, now_us = self._batch, time.time_ns() // 1000
        self._tally.packets += len(datagrams)
        self._tally.carried += len(datagrams)
        drops = socket_drops(self._sock)
        self._tally.kernel += (drops - self._kernel_drops) & 0xFFFFFFFF  # the kernel counts in u32
        self._kernel_drops = drops
        for octets, peer in datagrams:
            if len(octets) > len(batch.buffer) - batch.octets:
                self._flush()
            self._append(octets, peer, now_us)
        self._flush()

    def _append(self, octets: bytes, peer: Any, now_us: int) -> None:
        batch, row = self._batch, self._batch.n
        at = int(batch.start[row])
        batch.buffer[at : at + len(octets)] = np.frombuffer(octets, dtype=np.uint8)
        batch.start[row + 1] = at + len(octets)
        batch.ts[row], batch.ip_proto[row] = now_us, 17
        batch.family[row] = 2 if self._family == socket.AF_INET else 10
        batch.src_ip[row], batch.src_port[row] = _octets_of(peer)
        batch.dst_ip[row], batch.dst_port[row] = self._local
        batch.fields[row, _PAYLOAD] = 0, len(octets)
        batch.n = row + 1
        self._tally.octets += len(octets)

    def _flush(self) -> None:
        batch = self._batch
        if batch.n:
            n, mask = batch.n, np.zeros(batch.n, dtype=np.uint8)
            sip_mask(batch.buffer, batch.start[:n], np.diff(batch.start[: n + 1]), mask)
            batch.hep_type[:n] = np.where(mask != 0, HEP_SIP, self._other_type)
            index_sip(batch)
            whole = batch.trim()
            self.planner.run(whole)
            if self._answer:
                left = sorted(set(range(n)) - self._answered)
                self.reply(whole, np.array(left, dtype=np.int64), 200, "OK")
            self._answered.clear()
        clear(batch)


def make_response(request: bytes, code: int, text: str) -> bytes:
    """Return a response to a SIP request, b"" where it lacks a header that the response must repeat."""
    head = request.replace(b"\r\n", b"\n").partition(b"\n\n")[0].replace(b"\n\t", b" ").replace(b"\n ", b" ")
    lines = head.split(b"\n")[1:]
    names = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id"}
    kept: dict[bytes, list[bytes]] = {name: [] for name in (b"via", b"from", b"to", b"call-id", b"cseq")}
    for line in lines:
        name = line.partition(b":")[0].strip().lower()
        name = names.get(name, name)
        if name in kept and (name == b"via" or not kept[name]):
            kept[name].append(line.strip())
    if not all(kept.values()):
        return b""
    if b"tag=" not in kept[b"to"][0].lower():
        kept[b"to"][0] += b";tag=hepcat"
    status = f"SIP/2.0 {code} {text}".encode()
    return b"\r\n".join(
        [status, *(line for part in kept.values() for line in part), b"Content-Length: 0", b"", b""]
    )


def _octets_of(name: Any) -> tuple[Array, int]:
    host, port = name[0], name[1]
    if ":" in host:
        octets = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    else:
        octets = _MAPPED + socket.inet_aton(host)
    return np.frombuffer(octets, dtype=np.uint8), port


def _host_of(address: Array, family: int) -> str:
    octets = address.tobytes()
    return socket.inet_ntop(family, octets[12:] if family == socket.AF_INET else octets)
