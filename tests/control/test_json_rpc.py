"""JSON-RPC 2.0: requests, batches, notifications, errors; where documents end."""

import json
import random
from typing import Any

import pytest

from hepcat.control.json_rpc import (
    MAX_BATCH,
    MAX_DOCUMENT,
    MAX_NESTING,
    Documents,
    answer_document,
    read_document,
)
from tests.control.peers import SOURCE, Asked

SWITCHES = {"on": True, "capture": True, "sources": {SOURCE: True}}


def call(document: Any, asked: Asked | None = None, may_change: bool = True) -> Any:
    octets = document if isinstance(document, bytes) else json.dumps(document).encode()
    answer = answer_document(octets, (asked or Asked()).control(), may_change)
    return None if answer is None else json.loads(answer)


def request(method: str, params: Any = None, id_: Any = 1) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "method": method,
        **({} if params is None else {"params": params}),
        **({} if id_ is None else {"id": id_}),
    }


def test_params_by_position_and_by_name() -> None:
    asked = Asked()
    assert call(request("sip_capture"), asked) == {"jsonrpc": "2.0", "result": SWITCHES, "id": 1}
    assert call(request("sip_capture", ["OFF"], "a"), asked)["id"] == "a"
    assert not asked.switch.on
    assert call(request("sip_capture", {"mode": "on", "source": None}), asked)["result"]["on"]
    assert call(request("sip_capture", {"mode": "off", "source": SOURCE}), asked)["result"] == {
        "on": False, "source": SOURCE, "capture": True, "sources": {SOURCE: False},
    }  # fmt: skip
    assert call(request("status"), asked)["result"]["program"] == "hepcat"
    assert call(request("stats"), asked)["result"]["sources"][SOURCE]["capture"] is False
    assert call(request("reload"), asked)["result"] == {
        "reloaded": True, "notes": ["hep.listen changes only with a restart"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"\0", -32700),
        (b'{"id": NaN}', -32700),
        (b'{"id": 1e999}', -32700),
        (b'{"id": ' + b"9" * 5000 + b"}", -32700),
        (b"[" * 50_000, -32700),
        (b'{"a":' * 5_000, -32700),
        (b'{"id": 1}' + b" " * MAX_DOCUMENT, -32700),
        (b"1", -32600),
        (b"[]", -32600),
        (b"[1]", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "1.0", "method": "stats", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": 1, "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": "stats", "id": [1]}', -32600),
        (b'{"jsonrpc": "2.0", "method": "stats", "id": true}', -32600),
        (request("nonsense"), -32601),
        (request("__class__"), -32601),
        (request("x" * 60_000), -32601),
        (request("stats", ["x"]), -32602),
        (request("stats", "x"), -32602),
        (request("stats", 1), -32602),
        (request("sip_capture", ["maybe"]), -32602),
        (request("sip_capture", [1]), -32602),
        (request("sip_capture", [["on"]]), -32602),
        (request("sip_capture", ["on", SOURCE, "x"]), -32602),
        (request("sip_capture", {"other": "on"}), -32602),
        (request("sip_capture", ["on", "udp://none"]), -32602),
        (request("sip_capture", ["on", "x" * 2000]), -32602),
        ([request("stats")] * (MAX_BATCH + 1), -32600),
    ],
)
def test_errors(document: Any, code: int) -> None:
    asked = Asked()
    asked.switch.set(False)
    answer = call(document, asked)
    answer = answer[0] if isinstance(answer, list) else answer
    assert answer["error"]["code"] == code
    assert len(json.dumps(answer)) < 1500
    assert not asked.switch.on
    assert asked.reloads == 0


def test_batches_and_notifications() -> None:
    asked = Asked()
    assert call(request("sip_capture", ["off"], None), asked) is None
    assert not asked.switch.on, "a notification is carried out"
    answers = call(
        [request("sip_capture", ["on"]), request("stats", id_=None), request("none", id_="x"), 1], asked
    )
    assert [answer.get("id") for answer in answers] == [1, "x", None]
    assert asked.switch.on
    assert call([request("stats", id_=None)]) is None
    assert call(request("none", id_=None)) is None


def test_who_may_only_look() -> None:
    asked = Asked()
    for method, params in (("sip_capture", ["off"]), ("sip_capture", ["off", SOURCE]), ("reload", None)):
        answer = call(request(method, params), asked, may_change=False)
        assert answer["error"]["code"] == -32001
        assert "only root and the server's own user" in answer["error"]["message"]
    looks: tuple[tuple[str, Any], ...] = (
        ("sip_capture", None), ("sip_capture", {"source": SOURCE}), ("stats", []), ("status", {}),
    )  # fmt: skip
    for method, params in looks:
        assert "result" in call(request(method, params), asked, may_change=False)
    assert asked.switch.on
    assert not asked.switch.off
    assert asked.reloads == 0


def test_a_failed_reload_has_its_problems() -> None:
    asked = Asked()
    asked.problem = "one\ntwo"
    assert call(request("reload"), asked)["error"] == {
        "code": -32000, "message": "one\ntwo", "data": {"hint": "mend it"},
    }  # fmt: skip


def test_nesting_counts_brackets_outside_of_strings() -> None:
    assert read_document(b'{"a": "[[[[[[[[[[[[[[[[[[[[[[[[\\"[["}')["a"].startswith("[[")
    assert read_document(b"[" * MAX_NESTING + b"]" * MAX_NESTING)
    with pytest.raises(ValueError, match="nested"):
        read_document(b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1))


def test_documents_end_where_their_brackets_do() -> None:
    wanted = [
        b'{"a": "}{\\"[", "b": [1, {"c": {}}]}',
        b"{}",
        b'{"\\\\": "\\\\"}',
        b'{"x":\n\t1}',
        b'{"u": "\\u007d"}',
    ]
    stream = b'junk " ] ' + wanted[0] + b"\n" + wanted[1] + wanted[2] + b", \0" + wanted[3] + wanted[4]
    rng = random.Random(1)
    for turn in range(200):
        documents, found, at = Documents(), [], 0
        while at < len(stream):
            step = 1 if turn == 0 else rng.randrange(1, 20)
            found += documents.feed(stream[at : at + step])
            at += step
        assert found == wanted
        assert not documents.half


@pytest.mark.parametrize("octets", [b"{", b"[{", b'{"', b'{"\\', b"{[" * 3, b"\\", b'"'])
def test_no_stream_takes_memory_without_end(octets: bytes) -> None:
    documents = Documents()
    for _ in range(12):
        documents.feed(octets * 5_000)
        assert len(documents._octets) <= MAX_DOCUMENT
    documents.reset()
    assert documents.feed(b'{"a": 1}') == [b'{"a": 1}']
