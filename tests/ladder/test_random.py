"""Any table at all: no exception, every message drawn once, nothing raw, no row too wide."""

import json
import re
import xml.etree.ElementTree as ET

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepcat.search.ladder import build
from hepcat.search.render.escape import cells
from tests.ladder.make import SCHEMA, table
from tests.ladder.test_render import check_mermaid

TEXT = st.one_of(
    st.none(), st.text(max_size=12), st.sampled_from(["INVITE", "BYE", "1 INVITE", "a", "z9hG4bK1"])
)
ADDRESS = st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", None])
PORT = st.sampled_from([None, 5060, 5061, 40000, 40001])


@st.composite
def rows(draw: st.DrawFn) -> dict:
    row = {f.name: draw(TEXT) for f in SCHEMA if f.type == "string"}
    row |= {"src_ip": draw(ADDRESS), "dst_ip": draw(ADDRESS), "src_port": draw(PORT), "dst_port": draw(PORT)}
    row["transport"] = draw(st.sampled_from(["udp", "tcp", "sctp", None]))
    row["ts"] = draw(st.one_of(st.integers(0, 3_000_000), st.integers(-(2**62), 2**62)))
    row["status"] = draw(st.sampled_from([None, 100, 180, 200, 302, 401, 487, 600, 65535]))
    row["method"] = draw(st.sampled_from(["INVITE", "BYE", "ACK", "CANCEL", None, "\x1b"]))
    row["node_id"] = draw(st.sampled_from([None, 1, 2]))
    row["payload"] = draw(
        st.one_of(
            st.none(),
            st.binary(max_size=60),
            st.sampled_from([b"same", b"a\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 0"]),
        )
    )
    return row


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(rows(), max_size=12),
    st.integers(1, 160),
    st.dictionaries(ADDRESS.filter(bool), st.text(max_size=5)),
)
def test_any_table(messages: list[dict], width: int, aliases: dict[str, str]) -> None:
    ladder = build(table(messages), aliases)
    assert len(ladder.arrows) == len(messages)
    assert sum(leg.messages for leg in ladder.legs) == len(messages)
    assert [a.ts for a in ladder.arrows] == sorted(m["ts"] for m in messages)
    assert len({h.name for h in ladder.hosts}) == len(ladder.hosts)
    for arrow in ladder.arrows:
        assert 0 <= arrow.src < len(ladder.hosts)
        assert 0 <= arrow.dst < len(ladder.hosts)
        assert arrow.copy_of is None or (arrow.copy_of < arrow.index and not arrow.retransmission)
    text = ladder.text(width=width, raw=True)
    drawn = [line for line in text.splitlines() if re.match(r"#\d+  ", line)]
    assert len(drawn) == len(messages)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    for line in ladder.text(width=width).splitlines():
        assert cells(line) <= max(width, 40)
    root = ET.fromstring(ladder.svg())
    groups = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if "m" in g.attrib["class"].split()]
    assert len(groups) == len(messages)
    mermaid = ladder.mermaid()
    check_mermaid(mermaid)
    assert mermaid.count(">>h") == len(messages)
    assert len(json.loads(ladder.json(raw=True))["messages"]) == len(messages)
