"""HEP over UDP: one socket, one thread, `recvmmsg` into a row of slots.

In: datagrams. Out: slots full of them, handed to an intake as large batches. What can go wrong: the
kernel's receive buffer overflows (counted as Drop.KERNEL); an error of the socket (logged, retried).

A larger batch costs less a message, and waiting for it is only safe while the kernel has room for what
comes meanwhile. So the worker naps between two calls, but only when what the last call brought would
fit into the receive buffer many times over.
"""

import os
import select
import socket
import threading
import time
from typing import Final

import structlog

from hepcat.batch.drops import Drop
from hepcat.mmsg import UIO_MAXIOV, Receiver, socket_drops
from hepcat.sources.priority import prefer_this_thread
from hepcat.sources.source import Intake, Tally

#: A batch is handed on when its first datagram has waited this long, full or not.
GATHER_SECONDS: Final = 0.016
#: One nap; at 200,000 messages a second some 800 arrive meanwhile, which one system call still takes.
#: Measured at 100,000 a second: half as long costs 0.15 us a message more, twice as long saves nothing.
NAP_SECONDS: Final = 0.004
#: What the kernel charges a datagram beyond its octets (struct sk_buff and rounding), about.
KERNEL_OVERHEAD: Final = 1024
#: The fastest a burst may come, octets a second, before anything is known about the traffic.
BURST_RATE: Final = 1e9
#: A batch is handed on when it holds this much; and beyond it, its pages are given back to the kernel,
#: so that a sender of the largest datagrams cannot make all slots resident.
BATCH_OCTETS: Final = 16 * 2**20
#: A shorter nap saves nothing.
SHORTEST_NAP: Final = 0.0002

log = structlog.get_logger("hepcat.udp")


class HepUdpWorker:
    """Reads one UDP socket until it is stopped."""

    def __init__(self, sock: socket.socket, url: str, intake: Intake, tally: Tally, slots: int) -> None:
        """Take over a bound, non-blocking socket; `intake` and `tally` are this worker's alone."""
        self.sock = sock
        self.url = url
        self.tallies = [tally]
        self._tally = tally
        self._intake = intake
        self._slots = slots
        self._granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._drain_until = 0.0
        self._kernel_drops = socket_drops(sock)
        self._next_look = 0.0
        self._thread = threading.Thread(target=self._run, name=f"hep {url}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, drain_seconds: float) -> None:
        """Ask to end: read the socket empty, for at most so long, then close it."""
        self._drain_until = time.monotonic() + drain_seconds
        os.eventfd_write(self._wake, 1)

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def close(self) -> None:
        """Close the socket of a worker that was never started."""
        self.sock.close()
        os.close(self._wake)

    def _run(self) -> None:
        prefer_this_thread()
        receiver = Receiver(self.sock, self._slots)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not self._drain_until:
            try:
                poll.poll(1000)
                self._gather(receiver)
            except OSError as error:
                log.error("cannot receive; trying again in a second", url=self.url, error=error.strerror)
                time.sleep(1)
            self._look_at_drops()
        self._drain(receiver)
        self._count_kernel_drops()
        self.sock.close()
        os.close(self._wake)

    def _gather(self, receiver: Receiver) -> None:
        """Receive until the slots are full, the time is over or nothing comes; hand on."""
        count = receiver.receive()
        if count == 0:
            return
        received_us = time.time_ns() // 1000
        begun = last = time.monotonic()
        octets = int(receiver.lengths[:count].sum(dtype="int64"))
        fresh, nap = count, min(NAP_SECONDS, self._granted / BURST_RATE)
        while count < receiver.slots and octets < BATCH_OCTETS and not self._drain_until:
            if fresh < UIO_MAXIOV and nap >= SHORTEST_NAP:
                time.sleep(nap)
            elif fresh == 0:
                break
            fresh = receiver.receive(start_slot=count)
            now = time.monotonic()
            came = int(receiver.lengths[count : count + fresh].sum(dtype="int64"))
            count += fresh
            octets += came
            if now - begun > GATHER_SECONDS:
                break
            # The next nap may fill an eighth of the receive buffer, at the rate of the last one.
            rate = (came + fresh * KERNEL_OVERHEAD) / max(now - last, 1e-5)
            nap = min(NAP_SECONDS, self._granted / 8 / max(rate, 1.0))
            last = now
        self._hand_on(receiver, count, octets, received_us)

    def _hand_on(self, receiver: Receiver, count: int, octets: int, received_us: int) -> None:
        tally = self._tally
        tally.pending += count
        tally.read += count
        tally.octets += octets
        self._intake.add(receiver.data, receiver.offsets, receiver.lengths, count, received_us)
        self._intake.flush()
        if octets > 2 * BATCH_OCTETS:
            receiver.release()

    def _drain(self, receiver: Receiver) -> None:
        """Read what the kernel had when the stop came; a sender that never pauses cannot hold us."""
        while True:
            try:
                count = receiver.receive()
            except OSError:
                return
            if count:
                octets = int(receiver.lengths[:count].sum(dtype="int64"))
                self._hand_on(receiver, count, octets, time.time_ns() // 1000)
            if count == 0 or time.monotonic() > self._drain_until:
                return

    def _look_at_drops(self) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 1.0
            self._count_kernel_drops()

    def _count_kernel_drops(self) -> None:
        drops = socket_drops(self.sock)
        self._tally.drops[Drop.KERNEL] += (
            drops - self._kernel_drops
        ) & 0xFFFFFFFF  # the kernel counts in u32
        self._kernel_drops = drops
