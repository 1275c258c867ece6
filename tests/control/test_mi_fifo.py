"""The MI FIFO: the exchange of the time, octet for octet, and everything that a writer can do to it."""

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcat.control import fifo as fifo_module
from hepcat.control.fifo import Fifo, FifoDoor, Owner, open_reply
from hepcat.control.mi_fifo import MiParser, answer, mi_door, parse_argument
from hepcat.errors import HepcatError
from tests.control.peers import SOURCE, Answers, Asked, answers, write


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def path(tmp_path: Path, asked: Asked) -> Iterator[Path]:
    """A running door; its FIFO's path. Answers go to FIFOs in the same folder."""
    door = mi_door(Fifo(tmp_path / "mi", 0o660, Owner()), tmp_path, asked.control())
    door.start()
    yield tmp_path / "mi"
    door.stop()
    assert not (tmp_path / "mi").exists()


def exchange(path: Path, request: bytes, seconds: float = 60.0) -> bytes:
    """Write a request and return the reply on `answer`."""
    with answers(path.parent) as reply:
        write(path, request)
        return reply.read(seconds)


# -- parsing and answering


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (b":sip_capture:answer\n\n", b"200 OK\non\n\n"),
        (b":sip_capture:answer\non\n\n", b"200 OK\n\n"),
        (b":sip_capture:answer\noff\n\n", b"200 OK\n\n"),
        (b":sip_capture:answer\nOFF\n\n", b"200 OK\n\n"),
        (b':sip_capture:answer\n"On"\n\n', b"200 OK\n\n"),
        (b":sip_capture:answer\nmode::off\n\n", b"200 OK\n\n"),
        (b':sip_capture:answer\nmode::"off"\n\n', b"200 OK\n\n"),
        (b":sip_capture:answer\noff\nudp://[::1]:9060\n\n", b"200 OK\n\n"),
        (b":sip_capture:answer\nsource::udp://[::1]:9060\n\n", b"200 OK\non\n\n"),
        (b":sip_capture:answer\r\non\r\n\r\n", b"200 OK\n\n"),
        (b":sip_capture:answer\nmaybe\n\n", b"400 Bad parameter\n\n"),
        (b":sip_capture:answer\non\nx\ny\n\n", b"400 Bad parameter\n\n"),
        (b":sip_capture:answer\nother::on\n\n", b"400 Bad parameter\n\n"),
        (b":sip_capture:answer\noff\nudp://none\n\n", b"400 Bad parameter\n\n"),
        (b":sip_capture:answer\nmode::on\nmode::off\n\n", b"400 Bad parameter\n\n"),
        (b':sip_capture:answer\n"on\n\n', b"400 parse error in command 'sip_capture'\n"),
        (b":sip_capture:answer\no\0n\n\n", b"400 parse error in command 'sip_capture'\n"),
        (b":sip_capture:answer\n\xff\n\n", b"400 parse error in command 'sip_capture'\n"),
        (b":sip_capture:answer\n" + b"x" * 8193 + b"\n\n", b"400 parse error in command 'sip_capture'\n"),
        (b":sip_capture:answer\n" + b"on\n" * 33 + b"\n", b"400 parse error in command 'sip_capture'\n"),
        (b":ps:answer\n\n", b"500 command 'ps' not available\n"),
        (b":p\x1b[2J:answer\n\n", b"500 command 'p??2J' not available\n"),
        (b":which:answer\n\n", b"200 OK\nsip_capture\nstats\nagents\nmetrics\nstatus\nreload\nwhich\n\n"),
        (
            b":reload:answer\n\n",
            b"200 OK\nreloaded:: true\nnotes.0:: hep.listen changes only with a restart\n\n",
        ),
    ],
)
def test_requests_and_replies(request_: bytes, reply: bytes, asked: Asked) -> None:
    """Whole and octet by octet, with what may stand around it."""
    for pieces in ([request_], [bytes([octet]) for octet in request_], [b"\n\nrubbish\n:x\n", request_]):
        parser, found = MiParser(), []
        for piece in pieces:
            found += parser.feed(piece)
        (request,) = found
        assert not parser.half
        assert request.reply == "answer"
        assert answer(request, asked.control()).encode() == reply
        asked.switch.set(True)


def test_values_of_stats(asked: Asked) -> None:
    (request,) = MiParser().feed(b":stats:answer\n\n")
    lines = answer(request, asked.control()).splitlines()
    assert lines[0] == "200 OK"
    assert "total.received:: 3" in lines
    assert f"sources.{SOURCE}.capture:: true" in lines


def test_a_reload_that_fails_says_why(asked: Asked) -> None:
    asked.problem = "line 3\nis wrong"
    (request,) = MiParser().feed(b":reload:answer\n\n")
    assert answer(request, asked.control()) == "500 line 3 is wrong\n\n"


def test_arguments() -> None:
    assert parse_argument(b" on ") == (None, "on")
    assert parse_argument(b'"a \\"b\\" \\\\"') == (None, 'a "b" \\')
    assert parse_argument(b"name::value") == ("name", "value")
    assert parse_argument(b'name::"v"') == ("name", "v")
    assert parse_argument(b"udp://[::1]:9060") == (None, "udp://[::1]:9060")
    for broken in (b'"', b'"a" b', b"a\tb", b"\xc3"):
        with pytest.raises(ValueError, match=r".+"):
            parse_argument(broken)


def test_half_a_request_ends_where_the_next_begins() -> None:
    first, second = MiParser().feed(b":sip_capture:a\noff\n:sip_capture:b\n\n")
    assert (first.reply, first.broken) == ("a", True)
    assert (second.reply, second.broken) == ("b", False)


def test_an_endless_line_takes_no_memory() -> None:
    parser = MiParser()
    for _ in range(2000):
        assert parser.feed(b":" * 65_536) == []
    assert len(parser._line) <= 8192
    assert [r.reply for r in parser.feed(b"\n:sip_capture:a\n\n")] == ["a"]


# -- the FIFO itself


def test_real_exchanges(path: Path, asked: Asked) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert exchange(path, b":sip_capture:answer\noff\n\n") == b"200 OK\n\n"
    assert not asked.switch.on
    assert exchange(path, b":sip_capture:answer\n\n") == b"200 OK\noff\n\n"
    assert exchange(path, b":sip_capture:answer\non\n\n") == b"200 OK\n\n"
    assert asked.switch.on


@pytest.mark.parametrize(
    "name",
    [*("", ".", "..", "../answer", "sub/answer", "a.b", "a\\b", "a\0b", "a b", "x" * 300, "missing", "file"),
     "link", "hard", "folder", "mi"],
)  # fmt: skip
def test_without_an_answer_nothing_is_carried_out(path: Path, asked: Asked, name: str) -> None:
    folder = path.parent
    (folder / "file").write_bytes(b"untouched")
    (folder / "folder").mkdir()
    (folder / "sub").mkdir()
    with answers(folder, "a.b"), answers(folder, "real") as real, answers(folder / "sub"):
        (folder / "link").symlink_to(real.path)
        os.link(real.path, folder / "hard")
        write(path, b":sip_capture:%s\noff\n\n" % name.encode())
        assert exchange(path, b":sip_capture:answer\n\n") == b"200 OK\non\n\n"
        assert real.read(0.05) == b""
        assert asked.switch.on
        (folder / "hard").unlink()
    assert (folder / "file").read_bytes() == b"untouched"


def test_a_link_that_comes_after_the_look_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answers(tmp_path, "real") as real:
        (tmp_path / "answer").symlink_to(real.path)
        monkeypatch.setattr(os, "lstat", os.stat)  # what the look saw was the FIFO
        assert open_reply(tmp_path, "answer") is None
        assert open_reply(tmp_path, "real") is not None


def test_a_reply_fifo_is_tried_four_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "answer")
    slept: list[float] = []
    monkeypatch.setattr(fifo_module.time, "sleep", slept.append)
    assert open_reply(tmp_path, "answer") is None
    assert len(slept) == 3
    assert 0.2 < sum(slept) < 1
    fds: list[int] = []

    def a_reader_comes(_: float) -> None:
        if not fds:
            fds.append(os.open(tmp_path / "answer", os.O_RDONLY | os.O_NONBLOCK))

    monkeypatch.setattr(fifo_module.time, "sleep", a_reader_comes)
    reply = open_reply(tmp_path, "answer")
    assert reply is not None
    reply.send(b"x")
    assert os.read(fds[0], 10) == b"x"
    os.close(fds[0])


def test_a_reply_that_nobody_reads_holds_nobody_up(
    path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fifo_module, "REPLY_SECONDS", 0.3)
    asked.sources |= {f"udp://{number}": asked.sources[SOURCE] for number in range(2000)}
    with answers(path.parent, "stuck"):
        write(path, b":stats:stuck\n\n")
        assert exchange(path, b":sip_capture:answer\n\n") == b"200 OK\non\n\n"


def test_a_reader_that_leaves_holds_nobody_up(path: Path, asked: Asked) -> None:
    asked.sources |= {f"udp://{number}": asked.sources[SOURCE] for number in range(5000)}
    reply = Answers(path.parent / "leaves")
    write(path, b":stats:leaves\n\n")
    time.sleep(0.2)
    reply.close()
    assert exchange(path, b":sip_capture:answer\n\n") == b"200 OK\non\n\n"


def test_a_flood_leaves_the_door_standing(path: Path, asked: Asked) -> None:
    """Rubbish of every kind, from several writers at once; then it answers."""
    floods = [
        b"\n" * 65_536,
        b":" * 65_536,
        b":a:b\n\n" * 10_000,
        bytes(65_536),
        b":sip_capture:x\nmode::on\n" * 3_000,
    ]

    def flood(octets: bytes) -> None:
        write(path, octets * 3)

    threads = [threading.Thread(target=flood, args=(octets,)) for octets in floods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "the FIFO is no longer read"
    write(path, b"\n\n")
    assert exchange(path, b":sip_capture:answer\n\n") == b"200 OK\non\n\n"


def test_half_a_request_is_forgotten_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MiParser, "patience", 0.2)
    forgotten, reset = threading.Event(), MiParser.reset

    def noted(parser: MiParser) -> None:
        half = parser.half
        reset(parser)
        if half:
            forgotten.set()

    monkeypatch.setattr(MiParser, "reset", noted)
    write(path, b":sip_cap")
    assert forgotten.wait(60)
    assert exchange(path, b":sip_capture:answer\n\n") == b"200 OK\non\n\n"


# -- making it


def test_what_is_in_the_way(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    for name, make in (
        ("file", lambda p: p.write_text("precious")),
        ("link", lambda p: p.symlink_to(target)),
        ("folder", lambda p: p.mkdir()),
    ):
        make(tmp_path / name)  # type: ignore[no-untyped-call]
        with pytest.raises(HepcatError, match="something else is there, and it is not a FIFO"):
            Fifo(tmp_path / name, 0o660, Owner())
        assert (tmp_path / name).exists()
    assert target.read_text() == "precious"
    with pytest.raises(HepcatError, match="No such file or directory"):
        Fifo(tmp_path / "none" / "fifo", 0o660, Owner())


def test_a_fifo_of_the_dead_is_replaced_and_one_of_the_living_is_not(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o600)
    before = path.stat().st_ino
    dead = Fifo(path, 0o622, Owner())
    assert stat.S_IMODE(path.stat().st_mode) == 0o622, "whatever the umask"
    with pytest.raises(HepcatError, match="a running program reads from one there"):
        Fifo(path, 0o660, Owner())
    os.close(dead.fd)  # killed: it removed nothing
    again = Fifo(path, 0o660, Owner())
    assert path.stat().st_ino != before or stat.S_IMODE(path.stat().st_mode) == 0o660
    again.remove()
    assert not path.exists()


def test_only_its_own_fifo_is_removed(tmp_path: Path, asked: Asked) -> None:
    path = tmp_path / "fifo"
    door = FifoDoor(Fifo(path, 0o660, Owner()), MiParser(), lambda _: None)
    path.rename(tmp_path / "moved")
    path.write_text("somebody's")
    door.start()
    door.stop()
    assert path.read_text() == "somebody's"
