"""The example of docs/flow.md is what hepcat draws."""

import re
from pathlib import Path

from hepcat.search.ladder import COLUMNS, Arrow, Leg, build
from hepcat.search.render.json import render_json
from tests.ladder.make import PCMU, message, table

PAGE = (Path(__file__).parents[2] / "docs" / "flow.md").read_text(encoding="utf-8")
PHONE, SBC, CORE, PBX = "192.0.2.17:5060", "198.51.100.1:5060", "10.0.0.1:5060", "10.0.0.5:5060"


def example() -> list[dict]:
    """A phone calls through an SBC, has to show its password, and puts the other side on hold."""
    b = [f"z9hG4bK-{i}" for i in range(10)]
    call = {"call_id": "3848276298220188511@example.com"}
    pcmu = PCMU.replace("10.0.0.1", "192.0.2.17")
    sbc, pbx = PCMU.replace("4000", "20000"), PCMU.replace("10.0.0.1", "10.0.0.5").replace("4000", "16400")
    out = sbc.replace("10.0.0.1", "198.51.100.1").replace("20000", "20002")
    hold = pcmu + "a=sendonly\r\n"
    return [
        message(0.000, f"{PHONE}>{SBC}", "INVITE", branch=b[0], sdp=pcmu, **call),
        message(
            0.002, f"{SBC}>{PHONE}", "407 Proxy Authentication Required", branch=b[0], to_tag="s", **call
        ),
        message(0.021, f"{PHONE}>{SBC}", "ACK", branch=b[0], to_tag="s", **call),
        message(0.024, f"{PHONE}>{SBC}", "INVITE", cseq="2 INVITE", branch=b[1], sdp=pcmu, **call),
        message(0.026, f"{SBC}>{PHONE}", "100 Trying", cseq="2 INVITE", branch=b[1], **call),
        message(0.029, f"{CORE}>{PBX}", "INVITE", cseq="2 INVITE", branch=b[2], sdp=sbc, **call),
        message(0.530, f"{CORE}>{PBX}", "INVITE", cseq="2 INVITE", branch=b[2], sdp=sbc, **call),
        message(0.548, f"{PBX}>{CORE}", "180 Ringing", cseq="2 INVITE", branch=b[2], to_tag="p", **call),
        message(0.549, f"{SBC}>{PHONE}", "180 Ringing", cseq="2 INVITE", branch=b[1], to_tag="p", **call),
        message(3.902, f"{PBX}>{CORE}", "200 OK", cseq="2 INVITE", branch=b[2], to_tag="p", sdp=pbx, **call),
        message(3.904, f"{SBC}>{PHONE}", "200 OK", cseq="2 INVITE", branch=b[1], to_tag="p", sdp=out, **call),
        message(3.931, f"{PHONE}>{SBC}", "ACK", cseq="2 ACK", branch=b[3], to_tag="p", **call),
        message(3.932, f"{CORE}>{PBX}", "ACK", cseq="2 ACK", branch=b[4], to_tag="p", **call),
        message(
            9.100, f"{PHONE}>{SBC}", "INVITE", cseq="3 INVITE", branch=b[5], to_tag="p", sdp=hold, **call
        ),
    ]


def test_the_example() -> None:
    aliases = {"192.0.2.17": "phone", "198.51.100.1": "sbc", "10.0.0.1": "sbc", "10.0.0.5": "pbx"}
    text = build(table(example()), aliases).text(width=100)
    block = re.search(r"\$ hepcat flow 3848\S+ --utc\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    assert block[1] == text


def test_every_key_of_the_json_is_documented() -> None:
    import json

    value = json.loads(render_json(build(table(example())), raw=True))
    keys = {
        *value,
        *value["hosts"][0],
        *value["calls"][0],
        *value["messages"][0],
        *value["messages"][0]["sdp"],
    }
    keys |= set(value["messages"][0]["sdp"]["media"][0])
    missing = [key for key in sorted(keys) if f"`{key}`" not in PAGE]
    assert not missing
    assert "payload" in COLUMNS
    assert {"leg"} < set(Arrow.__dataclass_fields__)
    assert "state" in Leg.__dataclass_fields__
