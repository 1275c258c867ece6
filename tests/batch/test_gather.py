"""gather: slices to Arrow's buffers, in both modes, against plain Python."""

import ipaddress
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hepcat.batch.gather as gather_module
from hepcat.batch.gather import gather, gather_views, replace_invalid_utf8, take_rows, write_addresses
from hepcat.batch.layout import NUMERIC
from hepcat.batch.schema import FIELD_INDEX, FIELDS, FLAG_FOLDED
from tests.lake.make import build, traffic


def _values(batch, columns, rows):
    offsets, valid, base, data = gather(batch, np.array(columns), np.array(rows))
    out = []
    for c in range(len(columns)):
        octets = data[base[c] : base[c + 1]].tobytes()
        bits = np.unpackbits(valid[c], bitorder="little")
        out.append([octets[offsets[c, i] : offsets[c, i + 1]] if bits[i] else None for i in range(len(rows))])
    return out


def test_gather_gives_what_the_batch_says_in_any_order():
    batch = traffic(70)
    rows = list(range(70))
    random.Random(5).shuffle(rows)
    names = [n for n in FIELDS if n != "body"]
    got = _values(batch, [FIELD_INDEX[n] for n in names], rows)
    for name, values in zip(names, got, strict=True):
        assert values == [batch.text(r, name) for r in rows], name


def test_gather_of_nothing():
    batch = traffic(3)
    assert _values(batch, [0, 3], []) == [[], []]
    assert _values(batch, [], [1, 2]) == []


@pytest.mark.parametrize(
    ("folded", "plain"),
    [
        (b"a\r\n b", b"a b"),
        (b"a \r\n\t b", b"a b"),
        (b"a\n b\n c", b"a b c"),
        (b"a  b", b"a  b"),
        (b"\r\n a", b" a"),
        (b"a\r\n ", b"a "),
        (b"a b\r\n\tc  d", b"a b c  d"),
        (b"\r\n", b" "),
    ],
)
def test_folded_lines_become_one_space(folded, plain):
    batch = build([{"payload": b"-" + folded + b"-", "via_1": folded, "flags": FLAG_FOLDED}] * 2)
    columns = [FIELD_INDEX["via_1"], FIELD_INDEX["payload"]]
    assert _values(batch, columns, [0, 1]) == [[plain] * 2, [b"-" + folded + b"-"] * 2]


def test_unflagged_rows_and_ids_keep_their_octets():
    batch = build([{"via_1": b"a\r\n b"}, {"correlation_id": b"a\r\n b", "flags": FLAG_FOLDED}])
    columns = [FIELD_INDEX["via_1"], FIELD_INDEX["correlation_id"]]
    assert _values(batch, columns, [0, 1]) == [[b"a\r\n b", None], [None, b"a\r\n b"]]


@pytest.mark.parametrize("change", ["length", "offset", "row", "start"])
def test_slices_outside_the_buffer_raise(change):
    batch = traffic(3)
    rows = np.array([0, 1, 2])
    if change == "length":
        batch.fields[2, 0, 1] = 65535
    elif change == "offset":
        batch.fields[2, 0, 0] = 65535
    elif change == "row":
        rows = np.array([0, 3])
    else:
        batch.start[0] = -5
    with pytest.raises(IndexError):
        gather(batch, np.array([0]), rows)
    with pytest.raises(IndexError):
        gather_views(batch, 0, rows)


@given(st.lists(st.binary(max_size=12), max_size=6))
@settings(max_examples=300, deadline=None)
def test_invalid_utf8_is_replaced_and_valid_kept(values):
    data = np.frombuffer(b"".join(values), dtype=np.uint8).copy()
    offsets = np.cumsum([0] + [len(v) for v in values]).astype(np.int32)
    replaced = replace_invalid_utf8(data, offsets)
    changed = 0
    for i, value in enumerate(values):
        got = data[offsets[i] : offsets[i + 1]].tobytes()
        got.decode()  # valid now
        assert len(got) == len(value)
        for a, b in zip(value, got, strict=True):
            if a != b:
                assert a >= 0x80
                assert b == ord("?")
                changed += 1
        try:
            value.decode()
        except UnicodeDecodeError:
            assert got != value
        else:
            assert got == value
    assert replaced == changed


@pytest.mark.parametrize("text", ["é", "€", "😀", "aé€😀z", "\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"])
def test_every_length_of_utf8_is_kept(text):
    data = np.frombuffer(text.encode(), dtype=np.uint8).copy()
    assert replace_invalid_utf8(data, np.array([0, len(data)], dtype=np.int32)) == 0


def _addresses(texts):
    address = np.zeros((len(texts), 16), np.uint8)
    family = np.zeros(len(texts), np.uint8)
    for i, text in enumerate(texts):
        ip = ipaddress.ip_address(text)
        family[i] = 2 if ip.version == 4 else 10
        address[i] = np.frombuffer(ip.packed if ip.version == 6 else bytes(12) + ip.packed, np.uint8)
    offsets, out = write_addresses(address, family, np.arange(len(texts)))
    assert len(out) == offsets[-1]
    return [out[offsets[i] : offsets[i + 1]].tobytes().decode() for i in range(len(texts))]


def test_addresses_as_rfc5952_section_4_says():
    texts = ["0.0.0.0", "255.255.255.255", "10.0.200.9", "::", "::1", "1::", "2001:db8::1", "fe80::1:0:0:1"]
    texts += [
        "2001:db8:0:1:1:1:1:1",
        "2001:0:0:1::1",
        "1:2:3:4:5:6:7:8",
        "1:0:0:2:0:0:3:4",
        "::ffff:10.1.2.3",
    ]
    texts += [
        "::2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
        "::ffff:0:1.2.3.4",
        "ffff::",
        "::fffe:102:304",
        "a:b:c:d:e:f:0:1",
    ]
    want = [str(ipaddress.ip_address(t)) if "." not in t else t for t in texts]
    want[texts.index("::ffff:0:1.2.3.4")] = str(ipaddress.ip_address("::ffff:0:1.2.3.4"))
    assert _addresses(texts) == want


@given(st.lists(st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0x0A0B]), min_size=8, max_size=8), max_size=4))
@settings(max_examples=300, deadline=None)
def test_addresses_agree_with_ipaddress(groups):
    texts = [str(ipaddress.IPv6Address(b"".join(g.to_bytes(2, "big") for g in one))) for one in groups]
    plain = [t for t in texts if ipaddress.IPv6Address(t).ipv4_mapped is None]
    assert _addresses(plain) == plain


def test_unknown_family_is_null():
    offsets, out = write_addresses(np.ones((1, 16), np.uint8), np.array([7], np.uint8), np.array([0]))
    assert offsets.tolist() == [0, 0]
    assert len(out) == 0


def test_take_rows_is_compact_and_equal():
    batch = traffic(40)
    mask = np.zeros(40, bool)
    mask[[3, 5, 39]] = True
    some = take_rows(batch, mask)
    assert some.n == 3
    assert (
        len(some.buffer) == some.octets == sum(int(batch.start[r + 1] - batch.start[r]) for r in (3, 5, 39))
    )
    for i, row in enumerate((3, 5, 39)):
        assert [some.text(i, n) for n in FIELDS] == [batch.text(row, n) for n in FIELDS]
        assert some.address(i) == batch.address(row)
        assert [getattr(some, n)[i] for n, _, _ in NUMERIC] == [getattr(batch, n)[row] for n, _, _ in NUMERIC]
    assert take_rows(batch, np.zeros(40, bool)).n == 0
    with pytest.raises(IndexError):
        take_rows(batch, np.array([40]))


def test_the_numbers_of_the_pxd_are_those_of_the_schema():
    text = Path(gather_module.__file__).with_name("gather.pxd").read_text()
    found = dict(re.findall(r"^    ([A-Z_]+) = ([0-9]+)$", text, re.M))
    assert (
        found.items()
        >= {
            "FOLDED": str(FLAG_FOLDED),
            "FIRST_SIP": str(FIELD_INDEX["method"]),
            "BODY": str(FIELD_INDEX["body"]),
            "TAGS": str(FIELD_INDEX["tags"]),
        }.items()
    )
