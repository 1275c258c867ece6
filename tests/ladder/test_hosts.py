"""Who stands above the lifelines, and in which order."""

from hepcat.search.ladder import Ladder, build
from tests.ladder.make import message, table


def ladder(*rows: dict, **options) -> Ladder:
    return build(table(rows), **options)


def names(result: Ladder) -> list[str]:
    return [host.name for host in result.hosts]


def call(*paths: str, transport: str = "udp") -> list[dict]:
    return [
        message(i / 10, path, "INVITE", branch=f"z9hG4bK{i}", transport=transport)
        for i, path in enumerate(paths)
    ]


def test_an_alias_for_a_port_wins_over_one_for_the_address() -> None:
    result = ladder(
        *call("10.0.0.1:5060>10.0.0.2:5060", "10.0.0.2:5080>10.0.0.3:5060"),
        aliases={"10.0.0.2": "sbc", "10.0.0.2:5080": "sbc-core", "10.0.0.3": "pbx"},
    )
    assert names(result) == ["10.0.0.1:5060", "sbc", "sbc-core", "pbx"]
    assert [h.alias for h in result.hosts] == [False, True, True, True]


def test_an_alias_for_an_address_with_several_ports_keeps_them_apart() -> None:
    rows = call("127.0.0.1:5062>127.0.0.1:5070", "127.0.0.1:5070>127.0.0.1:5080")
    assert names(ladder(*rows, aliases={"127.0.0.1": "lab"})) == ["lab:5062", "lab:5070", "lab:5080"]


def test_one_name_is_one_participant() -> None:
    """A machine with two interfaces stands in the picture once."""
    rows = call("10.0.0.1:5060>10.0.0.2:5060", "192.168.0.2:5060>192.168.0.9:5060")
    result = ladder(*rows, aliases={"10.0.0.2": "sbc", "192.168.0.2": "sbc"})
    assert names(result) == ["10.0.0.1:5060", "sbc", "192.168.0.9:5060"]
    assert result.hosts[1].endpoints == ("10.0.0.2:5060", "192.168.0.2:5060")
    assert [(a.src, a.dst) for a in result.arrows] == [(0, 1), (1, 2)]


def test_ipv6() -> None:
    rows = call("[2001:db8::1]:5060>[2001:db8::2]:5060")
    assert names(ladder(*rows)) == ["[2001:db8::1]:5060", "[2001:db8::2]:5060"]
    aliases = {"2001:db8::1": "phone", "[2001:db8::2]:5060": "proxy"}
    assert names(ladder(*rows, aliases=aliases)) == ["phone", "proxy"]


def test_a_tcp_clients_port_becomes_the_one_it_names() -> None:
    """RFC 3261 section 18.1.1: sent-by of the topmost Via is where it listens."""
    rows = [
        message(0, "10.0.0.1:43210>10.0.0.2:5060", "INVITE", transport="tcp"),
        message(0.1, "10.0.0.2:5060>10.0.0.1:43210", "180 Ringing", transport="tcp", to_tag="b"),
        message(9, "10.0.0.2:38000>10.0.0.1:5060", "BYE", transport="tcp", branch="z9hG4bK2"),
    ]
    rows[0]["via_1"] = "SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK1"
    rows[2]["via_1"] = "SIP/2.0/TCP 10.0.0.2:5060;branch=z9hG4bK2"
    result = ladder(*rows)
    assert names(result) == ["10.0.0.1:5060", "10.0.0.2:5060"]
    assert result.hosts[0].endpoints == ("10.0.0.1:43210", "10.0.0.1:5060")
    assert [(a.src, a.dst) for a in result.arrows] == [(0, 1), (1, 0), (1, 0)]


def test_tcp_connections_of_one_address_are_one_participant() -> None:
    rows = call("10.0.0.1:43210>10.0.0.2:5060", "10.0.0.1:43999>10.0.0.2:5060", transport="tcp")
    for row in rows:
        row["via_1"] = "SIP/2.0/TCP host.example.com;branch=z9hG4bK1"
    assert names(ladder(*rows)) == ["10.0.0.1", "10.0.0.2:5060"]
    assert names(ladder(rows[0])) == ["10.0.0.1:43210", "10.0.0.2:5060"], "a lone one keeps its port"


def test_tcp_on_loopback_does_not_join_client_and_server() -> None:
    rows = call("127.0.0.1:43210>127.0.0.1:5070", "127.0.0.1:43211>127.0.0.1:5080", transport="tcp")
    rows[0]["via_1"] = "SIP/2.0/TCP 127.0.0.1:5070;branch=x"  # names its own peer: cannot be
    rows[1]["via_1"] = "SIP/2.0/TCP 127.0.0.1:5070;branch=y"
    assert names(ladder(*rows)) == ["127.0.0.1:43210", "127.0.0.1:5070", "127.0.0.1:5080"]


def test_udp_ports_are_never_joined() -> None:
    rows = call("10.0.0.1:43210>10.0.0.2:5060", "10.0.0.1:43211>10.0.0.2:5060")
    assert len(names(ladder(*rows))) == 3


def test_a_response_that_comes_first_is_read_backwards() -> None:
    rows = [message(0, "10.0.0.2:5060>10.0.0.1:5060", "180 Ringing", to_tag="b")]
    assert names(ladder(*rows)) == ["10.0.0.1:5060", "10.0.0.2:5060"]


def test_who_calls_the_first_host_stands_before_it() -> None:
    """Clocks of two capture points differ: the second hop comes first in time."""
    rows = call("10.0.0.2:5060>10.0.0.3:5060", "10.0.0.1:5060>10.0.0.2:5060", "10.0.0.0:5060>10.0.0.1:5060")
    assert names(ladder(*rows)) == [f"10.0.0.{i}:5060" for i in range(4)]


def test_a_message_to_oneself() -> None:
    result = ladder(*call("10.0.0.1:5060>10.0.0.1:5060"))
    assert [(a.src, a.dst) for a in result.arrows] == [(0, 0)]


def test_addresses_that_are_missing() -> None:
    row = {**message(0, "10.0.0.1:1>10.0.0.2:2", "INVITE"), "src_ip": None, "src_port": None}
    assert names(ladder(row)) == ["?", "10.0.0.2:2"]
