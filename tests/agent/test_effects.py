"""Settings that have no effect where they stand are told, and none that has one."""

from typing import Any

import pytest

from hepcat.config.agent import AgentSettings, ProfileSettings, TargetSettings
from hepcat.pipeline.effects import effect_warnings

UDP = ("udp://127.0.0.1:9",)
TCP = ("tcp://127.0.0.1:9",)
TLS = ("tls://127.0.0.1:9",)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"urls": UDP, "spool": "/s"}, "spool has no effect over UDP"),
        ({"urls": UDP, "memory": 2**20}, "memory has no effect over UDP"),
        ({"urls": UDP, "mode": "failover"}, "mode has no effect with one URL"),
        ({"urls": UDP, "verify": False}, "verify has no effect without TLS"),
        ({"urls": UDP, "payload": False}, "payload has no effect for kind hep"),
        ({"urls": UDP, "version": 2, "key": "x"}, "key has no effect in HEP 2"),
        ({"urls": UDP, "version": 1, "compress": True}, "compress has no effect in HEP 1"),
        ({"urls": TCP, "bind": "127.0.0.1"}, "bind has no effect but over UDP"),
        ({"urls": TCP, "pairs": False}, "pairs has no effect but over UDP"),
        ({"urls": TCP, "spool_limit": 2**21}, "spool_limit has no effect without spool"),
        ({"urls": TLS, "private_key": "/k"}, "private_key has no effect without certificate"),
        ({"urls": UDP, "gzip": True, "rotate_octets": 5}, "rotate_octets, gzip have no effect for kind hep"),
        ({"kind": "json", "urls": TCP, "compress": True}, "compress has no effect for kind json"),
        ({"kind": "pcap", "path": "/a", "key": "x", "node_id": 4}, "node_id has no effect for kind pcap"),
        ({"kind": "lake", "path": "/a", "spool": "/s"}, "spool has no effect for kind lake"),
    ],
)
def test_of_targets(fields: dict[str, Any], told: str) -> None:
    agent = AgentSettings(targets=(TargetSettings(name="t", **fields),))
    assert any(line.startswith(f"target t: {told}") for line in effect_warnings(agent))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"hep": UDP, "filter": "port 5060"}, "filter has no effect where hep is what is received"),
        ({"tzsp": "127.0.0.1:1", "filter": "udp", "workers": 2}, "filter, workers have no effect where tzsp"),
        ({"collect": "127.0.0.1:1", "tcp": False}, "tcp has no effect where collect"),
        ({"reply": True}, "reply has no effect without collect"),
        ({"plan_text": "capture { drop; }", "targets": ("t",)}, "targets has no effect beside a plan"),
    ],
)
def test_of_profiles(fields: dict[str, Any], told: str) -> None:
    target = TargetSettings(name="t", urls=UDP)
    agent = AgentSettings(profiles=(ProfileSettings(name="p", **fields),), targets=(target,))
    assert [line for line in effect_warnings(agent) if line.startswith(f"profile p: {told}")]


def test_a_rule_of_shedding_without_a_ceiling() -> None:
    assert effect_warnings(AgentSettings(shed="media")) == ["shed has no effect without cpu_limit"]
    assert not effect_warnings(AgentSettings(shed="media", cpu_limit=50))


@pytest.mark.parametrize(
    "fields",
    [
        {"urls": UDP, "bind": "127.0.0.1", "pairs": False, "key": "x", "compress": True, "node_id": 4},
        {"urls": (*TLS, *UDP), "mode": "failover", "spool": "/s", "spool_limit": 2**21, "verify": False},
        {"kind": "json", "urls": TCP, "payload": False, "memory": 2**20, "key": "x", "node_id": 4},
        {"kind": "pcap", "path": "/a", "gzip": True, "rotate_seconds": 5, "memory": 2**20},
        {"kind": "lake", "path": "/a", "node_id": 5, "memory": 2**20},
    ],
)
def test_what_has_an_effect_is_not_told(fields: dict[str, Any]) -> None:
    profiles = (
        ProfileSettings(name="a", dev=("lo",), filter="udp", ports="5060", targets=("t",), hep_type=100),
        ProfileSettings(name="b", tzsp="127.0.0.1:1", ports="5060", tcp=False, ip_replace="1.1.1.1-2.2.2.2"),
        ProfileSettings(name="c", collect="127.0.0.1:1", reply=True, hep_type=35),
        ProfileSettings(name="d", hep=UDP, targets=("t",)),
    )
    agent = AgentSettings(profiles=profiles, targets=(TargetSettings(name="t", **fields),))
    assert not effect_warnings(agent)
