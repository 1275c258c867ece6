"""GET /api/call and its pictures: the model, other legs, findings, bounds, what is not there."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pyarrow as pa
import pytest

from tests.support import hepcat
from tests.web.call_captures import HOSTILE_IDS, TOKEN, held_call, hostile_call, long_call, two_legs, write
from tests.web.support import Site, import_lake


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the API on a lake of a few calls."""
    folder = tmp_path_factory.mktemp("call-api")
    rows = [*held_call(), *two_legs(), *long_call(2003, "long"), *hostile_call(HOSTILE_IDS[0])]
    lake = import_lake(folder / "lake", [write(folder / "calls.pcap", rows)])
    with Site(lake, folder) as running:
        yield running


def fetch(site: Site, path: str, **parameters: Any) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and octets of an answer."""
    try:
        with urllib.request.urlopen(f"{site.url}{path}?{urlencode(parameters, doseq=True)}") as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_a_call_has_its_model(site: Site) -> None:
    found = site.get("/api/call", id="held-call")
    assert set(found) >= {"calls", "ladder", "findings", "related", "cut", "notes", "sdp_words"}
    assert [host["name"] for host in found["ladder"]["hosts"]] == [
        "203.0.113.7:5060",
        "198.51.100.1:5060",
        "198.51.100.20:5060",
    ]
    messages = found["ladder"]["messages"]
    assert len(messages) == 16
    assert messages[0]["payload"].startswith("INVITE sip:bob@example.com SIP/2.0\r\n")
    assert messages[1]["retransmission_of"] == 0
    assert found["calls"][0]["state"] == "completed"
    assert found["cut"] == 0
    assert found["related"] == []


def test_the_model_is_what_flow_prints(site: Site) -> None:
    found = site.get("/api/call", id="held-call")["ladder"]
    printed = json.loads(
        hepcat("flow", "held-call", "--data", str(site.data), "--format", "json", "--raw").stdout
    )
    for message in found["messages"]:
        del message["sdp_words"]
    assert {name: found[name] for name in ("hosts", "calls", "messages")} == {
        name: printed[name] for name in ("hosts", "calls", "messages")
    }


def test_sdp_comes_in_words_once_each(site: Site) -> None:
    found = site.get("/api/call", id="held-call")
    numbers = [message["sdp_words"] for message in found["ladder"]["messages"]]
    assert numbers[0] == numbers[1] == numbers[3] == 0  # the same offer, sent again and forwarded
    assert numbers[2] is None
    assert sorted({n for n in numbers if n is not None}) == list(range(len(found["sdp_words"])))
    audio = found["sdp_words"][0]["sections"][1]
    assert "192.168.1.20:4000" in audio["summary"]
    assert {"text", "words"} == set(audio["lines"][0])


def test_other_legs_are_added_with_a_reason(site: Site) -> None:
    found = site.get("/api/call", id="leg-one@b2bua")
    assert [leg["call_id"] for leg in found["related"]] == ["leg-two@b2bua"]
    assert found["related"][0]["of"] == "leg-one@b2bua"
    assert found["related"][0]["why"]
    assert {leg["call_id"] for leg in found["ladder"]["calls"]} == {"leg-one@b2bua", "leg-two@b2bua"}
    alone = site.get("/api/call", id="leg-one@b2bua", related=0)
    assert [leg["call_id"] for leg in alone["ladder"]["calls"]] == ["leg-one@b2bua"]


def test_findings_point_to_messages(site: Site) -> None:
    found = site.get("/api/call", id="leg-two@b2bua", related=0)
    busy = [one for one in found["findings"] if "486" in one["title"]]
    assert busy
    assert found["ladder"]["messages"][busy[0]["arrows"][0]]["status"] == 486
    rules = {rule["name"] for rule in site.get("/api/findings")}
    assert {one["rule"] for one in found["findings"]} <= rules


def test_every_rule_is_told(site: Site) -> None:
    rules = site.get("/api/findings")
    assert len(rules) > 5
    for rule in rules:
        assert set(rule) == {"name", "title", "doc", "standard"}
        assert all(rule.values()), rule


def test_what_is_drawn_has_a_bound_of_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    from hepcat.web.routes import call

    monkeypatch.setattr(call, "MOST_OCTETS", 100)
    payloads = [b"x" * 40, None, b"x" * 60, b"x", b"x"]
    assert len(call._bounded(pa.table({"payload": payloads}))) == 3
    assert len(call._bounded(pa.table({"payload": [b"x" * 101]}))) == 1
    assert len(call._bounded(pa.table({"payload": pa.array([], pa.binary())}))) == 0


def test_more_messages_than_a_picture_has_are_cut_and_counted(site: Site) -> None:
    found = site.get("/api/call", id="long")
    assert len(found["ladder"]["messages"]) == 2000
    assert found["cut"] == 3


def test_a_range_of_time_bounds_the_picture(site: Site) -> None:
    first = site.get("/api/call", id="held-call")["ladder"]["messages"]
    found = site.get("/api/call", id="held-call", since=first[11]["ts"], until=first[14]["ts"])
    assert [message["ts"] for message in found["ladder"]["messages"]] == [m["ts"] for m in first[11:14]]


def test_unknown_calls(site: Site) -> None:
    status, headers, body = fetch(site, "/api/call", id="held-calls")
    problem = json.loads(body)
    assert status == problem["status"] == 404
    assert headers["content-type"] == "application/problem+json"
    assert problem["similar"] == ["held-call"]
    assert "held-call" in problem["hint"]
    partly = site.get("/api/call", id=["held-call", "no-such"])
    assert len(partly["ladder"]["calls"]) == 1
    assert any("no-such" in note for note in partly["notes"])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"id": ""},
        {"id": "x" * 16_385},
        {"id": [f"c{i}" for i in range(21)]},
        {"id": "a", "since": "soon"},
    ],
    ids=["none", "empty", "long", "many", "time"],
)
@pytest.mark.parametrize(
    "path", ["/api/call", "/api/call/ladder.svg", "/api/call/flow.txt", "/api/call/flow.mmd"]
)
def test_wrong_parameters_are_problems(site: Site, path: str, parameters: dict[str, Any]) -> None:
    status, headers, body = fetch(site, path, **parameters)
    assert status == 400, body
    assert headers["content-type"] == "application/problem+json"


def test_pictures(site: Site) -> None:
    status, headers, body = fetch(site, "/api/call/ladder.svg", id="held-call")
    assert (status, headers["content-type"].split(";")[0]) == (200, "image/svg+xml")
    assert ElementTree.fromstring(body).tag.endswith("svg")
    assert "attachment" not in headers["content-disposition"]
    status, headers, body = fetch(site, "/api/call/flow.txt", id="held-call", download=1)
    assert "attachment" in headers["content-disposition"]
    assert "re-INVITE" in body.decode()
    raw = fetch(site, "/api/call/flow.txt", id="held-call", raw=1)[2].decode()
    assert "User-Agent: Desk phone 7" in raw
    assert "User-Agent: Desk phone 7" not in body.decode()
    assert fetch(site, "/api/call/flow.mmd", id="held-call")[2].startswith(b"sequenceDiagram\n")


def test_hostile_text_is_text_everywhere(site: Site) -> None:
    found = site.get("/api/call", id=HOSTILE_IDS[0])
    assert TOKEN in found["ladder"]["messages"][0]["payload"]
    assert "\\x80" in found["ladder"]["messages"][-1]["payload"]  # octets that are no UTF-8
    _, _, svg = fetch(site, "/api/call/ladder.svg", id=HOSTILE_IDS[0])
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "style", "rect", "text", "tspan", "line", "path", "g", "title", "circle"}
    attributes = {name for element in ElementTree.fromstring(svg).iter() for name in element.attrib}
    assert not [name for name in attributes if name.startswith("on") or "href" in name]
    for path in ("/api/call/flow.txt", "/api/call/flow.mmd"):
        _, headers, text = fetch(site, path, id=HOSTILE_IDS[0], raw=1)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"].startswith("text/plain")
        assert b"\x1b" not in text
        assert "\u202e" not in text.decode()


def test_text_of_very_large_calls_is_bounded() -> None:
    """Not over HTTP: 8 MiB of messages would take the test's time."""
    from hepcat.web.routes import call

    messages = [{"payload": "x" * (call.MOST_TEXT // 2)} for _ in range(4)]
    assert call._bound_text(messages) == 2
    assert [message["payload"] is None for message in messages] == [False, False, True, True]
