"""The switch of capture: off counts and stores nothing, on stores; for all, for each source, under load."""

import socket
import threading
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from hepcat.batch.drops import Drop
from hepcat.control.methods import Control, MethodError, call_method
from hepcat.pipeline.switch import CaptureSwitch
from tests.control.peers import SOURCE, Asked
from tests.serve.peers import Running, hep3, invite, running
from tests.support import wait_for


def send(run: Running, *names: object) -> None:
    """Send a request a name by UDP."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for name in names:
            sock.sendto(hep3(invite(name)), ("127.0.0.1", run.port))


def switch(run: Running, *arguments: str | None) -> dict[str, Any]:
    result: dict[str, Any] = call_method(Control(run.server), "sip_capture", list(arguments))
    return result


def test_a_source_is_on_while_its_own_switch_and_that_of_all_are() -> None:
    switch = CaptureSwitch()
    assert switch.is_on("a")
    switch.set(False, "a")
    assert (switch.is_on("a"), switch.is_on("b"), switch.on) == (False, True, True)
    switch.set(False)
    assert (switch.is_on("a"), switch.is_on("b")) == (False, False)
    switch.set(True)
    assert (switch.is_on("a"), switch.is_on("b")) == (False, True)
    switch.set(True, "a")
    assert switch.is_on("a")
    assert not CaptureSwitch(False).is_on("a")


def test_off_counts_and_stores_nothing() -> None:
    with running("udp") as run:
        send(run, "before")
        run.settle(1)
        assert switch(run, "off")["on"] is False
        send(run, *range(50))
        run.settle(51)
        assert run.store.call_ids == [b"before"]
        assert run.drops() == {"CAPTURE_OFF": 50}
        assert switch(run)["on"] is False, "asking changes nothing"
        assert switch(run, "ON")["on"] is True
        send(run, "after")
        run.settle(52)
        assert run.store.call_ids == [b"before", b"after"]


def test_what_was_read_before_is_stored() -> None:
    with running("udp") as run:
        run.store.gate.clear()  # the store is slow: batches wait in the queue
        send(run, *range(20))
        wait_for(lambda: run.server.counters.snapshot().queue_records == 20)
        switch(run, "off")
        send(run, *range(20, 30))
        wait_for(lambda: run.drops().get("CAPTURE_OFF") == 10)
        run.store.gate.set()
        run.settle(30)
        assert len(run.store.call_ids) == 20


def test_one_source_alone() -> None:
    with running("udp", "tcp") as run:
        udp, tcp = f"udp://127.0.0.1:{run.port}", f"tcp://127.0.0.1:{run.port}"
        result = switch(run, "off", tcp)
        assert result == {"on": False, "source": tcp, "capture": True, "sources": {udp: True, tcp: False}}
        with socket.create_connection(("127.0.0.1", run.port)) as sock:
            sock.sendall(b"".join(hep3(invite(f"tcp{i}")) for i in range(10)))
            send(run, "udp")
            run.settle(11)
            sources = run.server.counters.snapshot().sources
            assert run.store.call_ids == [b"udp"]
            assert sources[tcp].drops == {Drop.CAPTURE_OFF: 10}
            assert not sources[udp].drops
            switch(run, "on", tcp)
            sock.sendall(hep3(invite("tcp again")))
            run.settle(12)
        assert run.store.call_ids == [b"udp", b"tcp again"]


def test_an_unknown_source_is_answered_with_the_known_ones() -> None:
    with running("udp") as run:
        with pytest.raises(MethodError) as told:
            switch(run, "off", "udp://nowhere")
        assert str(told.value) == "no source udp://nowhere"
        assert told.value.hint == f"There is udp://127.0.0.1:{run.port}."
        assert run.server.switch.on
        assert not run.server.switch.off


def test_switching_under_load_loses_nothing_uncounted() -> None:
    with running("udp", "tcp", hep__workers=2) as run:
        stop = threading.Event()
        sent = [0, 0]

        def flood(kind: int) -> None:
            octets = hep3(invite("x"))
            if kind:
                with socket.create_connection(("127.0.0.1", run.port)) as sock:
                    while not stop.is_set():
                        sock.sendall(octets * 20)
                        sent[kind] += 20
                        time.sleep(0.001)
                return
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                while not stop.is_set():
                    for _ in range(20):
                        sock.sendto(octets, ("127.0.0.1", run.port))
                    sent[kind] += 20
                    time.sleep(0.001)

        threads = [threading.Thread(target=flood, args=(kind,)) for kind in (0, 1)]
        for thread in threads:
            thread.start()
        for turn in range(40):
            switch(run, "off" if turn % 2 == 0 else "on")
            time.sleep(0.02)
        stop.set()
        for thread in threads:
            thread.join()
        run.settle(sum(sent))  # received = stored + dropped
        total = run.server.counters.snapshot().total
        assert total.received == sum(sent)
        assert 0 < len(run.store.call_ids) == total.stored < sum(sent)
        assert 0 < total.drops[Drop.CAPTURE_OFF] == sum(sent) - total.stored - total.drops.get(Drop.KERNEL, 0)


def test_capture_is_off_at_the_start_where_the_classic_section_says_so() -> None:
    with running("udp", sipcapture__hep_capture_on=True) as run:
        send(run, "early")
        run.settle(1)
        assert run.store.call_ids == []
        switch(run, "on")
        send(run, "late")
        run.settle(2)
        assert run.store.call_ids == [b"late"]


def test_who_reads_the_log_sees_the_switch() -> None:
    """Asking is not logged."""
    asked = Asked()
    with capture_logs() as lines:
        for arguments in ([], ["off"], ["on", SOURCE]):
            call_method(asked.control(), "sip_capture", arguments)
    assert [(line["event"], line["source"]) for line in lines] == [
        ("capture switched off", "all"),
        ("capture switched on", SOURCE),
    ]
