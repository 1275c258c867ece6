"""Properties of the SIP index: what is the same message gives the same columns; no octets break it."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.schema import FLAG_FOLDED, FLAG_KEEPALIVE, FLAG_NOT_SIP, FLAG_STUN, MALFORMED
from hepcat.wire.sip import index_sip, sip_mask
from hepcat.wire.sip_names import COMPACT
from tests.wire.test_sip import batch_of, check_slices, columns, index
from tests.wire.vectors_sip import INVITE, VECTORS

#: Headers in the order of the message; none twice, so any order means the same.
START, *LINES = INVITE.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
BODY = INVITE.partition(b"\r\n\r\n")[2]
HEADERS = [tuple(line.split(": ", 1)) for line in LINES]
WHOLE = index(INVITE)
LWS = st.sampled_from(["", " ", "\t", "  ", "\r\n ", " \r\n\t"])


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """The message INVITE written otherwise: order, case, compact names, white space, folds around values."""
    lines = [START]
    for name, value in draw(st.permutations(HEADERS)):
        spelled = draw(st.sampled_from([name, name.lower(), name.upper(), COMPACT.get(name.lower(), name)]))
        space = draw(st.sampled_from(["", " ", "\t "]))
        lines.append(f"{spelled}{space}:{draw(LWS)}{value}{draw(LWS).rstrip()}")
    end = draw(st.sampled_from(["\r\n", "\n"]))
    return ("\r\n".join(lines) + "\r\n\r\n").replace("\r\n", end).encode("latin-1") + BODY


@given(spellings())
def test_spelled_otherwise(payload: bytes) -> None:
    assert index(payload) == WHOLE


@given(st.sampled_from(HEADERS), st.integers(min_value=0), st.sampled_from(["\r\n ", "\r\n\t ", " \r\n  "]))
def test_folded_anywhere(header: tuple[str, str], at: int, fold: str) -> None:
    """A fold where white space stands gives the same columns, but for the fold itself."""
    name, value = header
    spaces = [i for i, c in enumerate(value) if c == " "]
    if not spaces:
        return
    at = spaces[at % len(spaces)]
    line = f"{name}: {value}".encode("latin-1")
    found = index(INVITE.replace(line, f"{name}: {value[:at]}{fold}{value[at + 1 :]}".encode("latin-1")))
    found["flags"] &= ~FLAG_FOLDED

    def unfold(columns: dict[str, Any]) -> dict[str, Any]:
        return {n: v.replace(fold.encode(), b" ") if isinstance(v, bytes) else v for n, v in columns.items()}

    assert unfold(found) == WHOLE


def check(payloads: list[bytes]) -> None:
    """The invariant of hostile octets; the same as the fuzz target's."""
    batch = batch_of(payloads, ("Subject",), lead=b"x")
    index_sip(batch)
    check_slices(batch)
    assert int(batch.malformed.max()) < len(MALFORMED)
    mask = np.empty(len(payloads), dtype=np.uint8)
    sip_mask(batch.buffer, batch.start[:-1] + 1, np.diff(batch.start) - 1, mask)
    for row, payload in enumerate(payloads):
        flags = int(batch.flags[row])
        kinds = flags & (FLAG_KEEPALIVE | FLAG_STUN | FLAG_NOT_SIP)
        assert bin(kinds | flags & 3).count("1") == 1, payload  # exactly one kind
        if kinds & (FLAG_KEEPALIVE | FLAG_STUN):
            assert set(columns(batch, row)) == {"flags"}
        elif mask[row]:
            assert not kinds
        else:
            assert MALFORMED[int(batch.malformed[row])] == "start_line"


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=20))
def test_random_octets(payloads: list[bytes]) -> None:
    check(payloads)


PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b":",
    b";",
    b",",
    b"<",
    b">",
    b'"',
    b"\\",
    b"@",
    b"[",
    b"]",
    b" ",
    b"\0",
    b"=",
]
PIECES += [
    b"SIP/2.0",
    b"sip:",
    b"tel:",
    b"tag=",
    b"branch=",
    b"username=",
    b"Via",
    b"l: 3",
    b"\r\n\r\n",
    b"\xff",
]


@settings(max_examples=150)
@given(
    st.sampled_from([payload for _, payload, _ in VECTORS if len(payload) < 1500]),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 9), st.sampled_from(PIECES)), max_size=6),
)
def test_mutated(payload: bytes, changes: list[tuple[int, int, bytes]]) -> None:
    """Messages with pieces cut out and put in."""
    steps = [payload]
    for at, size, piece in changes:
        payload = payload[:at] + piece + payload[at + size :]
        steps.append(payload)
    check(steps)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_pieces(pieces: list[bytes]) -> None:
    check([b"".join(pieces), b"OPTIONS sip:a SIP/2.0\r\nFrom:" + b"".join(pieces)])
