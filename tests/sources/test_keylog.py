"""A key log that is followed: grown, half-written, cut off, renamed away, made late, and read cheaply."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hepcat.errors import HepcatError
from hepcat.sources import keylog
from hepcat.sources.keylog import KeyLogFollower

A, B, C = (b"CLIENT_RANDOM " + letter * 64 + b" " + letter * 96 + b"\n" for letter in (b"a", b"b", b"c"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "keys.log"


def append(path: Path, octets: bytes) -> None:
    with path.open("ab") as file:
        file.write(octets)


def test_it_grows(log: Path) -> None:
    log.write_bytes(A)
    follower = KeyLogFollower(log)
    assert follower.poll() == A
    assert follower.poll() == b""
    append(log, B)
    append(log, C)
    assert follower.poll() == B + C
    assert follower.poll() == b""


def test_it_is_not_there_yet(log: Path) -> None:
    follower = KeyLogFollower(log)
    assert follower.poll() == b""
    assert follower.error is None
    append(log, A)
    assert follower.poll() == A


def test_half_a_line_waits_for_its_rest(log: Path) -> None:
    log.write_bytes(A + B[:50])
    follower = KeyLogFollower(log)
    assert follower.poll() == A
    append(log, B[50:-1])
    assert follower.poll() == b""
    append(log, B[-1:])
    assert follower.poll() == B


def test_it_is_cut_off(log: Path) -> None:
    log.write_bytes(A + B)
    follower = KeyLogFollower(log)
    assert follower.poll() == A + B
    log.write_bytes(C)
    assert follower.poll() == C
    assert follower.poll() == b""


def test_it_is_written_anew_to_the_same_length_or_longer(log: Path) -> None:
    log.write_bytes(A)
    follower = KeyLogFollower(log)
    assert follower.poll() == A
    log.write_bytes(B)
    os.utime(log, ns=(1, 1))  # a clock too coarse to show it must not decide the test
    assert follower.poll() == B
    log.write_bytes(C + A)
    assert follower.poll() == C + A


def test_it_is_renamed_away(log: Path) -> None:
    """What the writer still appended to the old file is read, then the new one."""
    log.write_bytes(A)
    follower = KeyLogFollower(log)
    assert follower.poll() == A
    old = log.rename(log.with_suffix(".1"))
    append(old, B)
    assert follower.poll() == B
    append(old, C)
    log.write_bytes(A)
    assert follower.poll() == C + A
    old.unlink()
    append(log, B)
    assert follower.poll() == B


def test_it_is_removed_and_made_again(log: Path) -> None:
    log.write_bytes(A)
    follower = KeyLogFollower(log)
    assert follower.poll() == A
    log.unlink()
    assert follower.poll() == b""
    log.write_bytes(B)
    assert follower.poll() == B


def test_a_large_log_comes_in_parts(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keylog, "_MOST", 100_000)
    lines = b"".join(b"CLIENT_RANDOM %064x %096x\n" % (i, i) for i in range(2_000))
    log.write_bytes(lines)
    follower = KeyLogFollower(log)
    parts = [follower.poll() for _ in range(5)]
    assert len(parts[0]) < len(lines)
    assert b"".join(parts) == lines
    log.rename(log.with_suffix(".1"))
    log.write_bytes(A)
    assert follower.poll() == A


def test_a_large_log_renamed_away_is_read_to_its_end(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keylog, "_MOST", 100_000)
    lines = b"".join(b"CLIENT_RANDOM %064x %096x\n" % (i, i) for i in range(2_000))
    log.write_bytes(lines)
    follower = KeyLogFollower(log)
    first = follower.poll()
    log.rename(log.with_suffix(".1"))
    log.write_bytes(A)
    rest = b"".join(follower.poll() for _ in range(6))
    assert first + rest == lines + A


def test_an_unchanged_log_costs_one_system_call(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(A)
    follower = KeyLogFollower(log)
    assert follower.poll() == A
    calls: list[str] = []

    def watch(name: str) -> Callable[..., object]:
        real = getattr(os, name)
        return lambda *a, **k: (calls.append(name), real(*a, **k))[1]

    with monkeypatch.context() as patched:
        for name in ("stat", "pread", "open", "fstat"):
            patched.setattr(os, name, watch(name))
        found = follower.poll()
    assert found == b""
    assert calls == ["stat"]


def test_a_line_without_end_is_not_kept(log: Path) -> None:
    log.write_bytes(b"x" * 200_000)
    follower = KeyLogFollower(log)
    assert follower.poll() == b""
    assert len(follower._partial) == 0
    append(log, b"\n" + A)
    assert follower.poll() == b"\n" + A


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match="is not a file"):
        KeyLogFollower(tmp_path)


def test_trouble_later_is_told_not_raised(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(A)
    follower = KeyLogFollower(log)

    def refuse(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", refuse)
    assert follower.poll() == b""
    assert follower.error is not None
    assert "Input/output error" in follower.error
    monkeypatch.undo()
    assert follower.poll() == A
    assert follower.error is None
