"""sipp through real interfaces and tunnels: what the agent sends is what sipp's own trace says, and no more.

Tunnels are the kernel's own where it has them (a skip names the module), and the same formats made in user
space everywhere: either way packets of a real UDP, TCP and IP stack.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.agent.hep import Message, UdpCollector, check_same, parse, until
from tests.agent.running import RunningAgent
from tests.live import net, sipp, tunnel
from tests.live.net import Namespace
from tests.live.sipp import Load
from tests.support import need

pytestmark = pytest.mark.peer
Pair = tuple[Namespace, Namespace]
SIP = "port 5060"
V4, V6 = ("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")
INNER4, INNER6 = ("10.8.0.1", "10.8.0.2"), ("fd08::1", "fd08::2")


@dataclass(frozen=True, slots=True)
class Case:
    """filter: of the agent. addresses: of caller and callee. kernel: type of interface for `ip link`, with
    {local} and {remote}. user: a format of tests/live/tunnel.py. outer: the tunnel's own addresses. vlan: the
    tag that the messages carry.
    """

    filter: str = SIP
    addresses: tuple[str, str] = V4
    load: Load = field(default_factory=Load)
    kernel: str = ""
    user: str = ""
    outer: tuple[str, str] = V4
    vlan: int = 0
    dev: str = "vb"


BIG = Load(30, 60, "u1", body=6000)
CASES = {
    "udp": Case(load=Load(100, 200)),
    "udp-any": Case(dev="any"),
    "udp-ipv6": Case(addresses=V6),
    "tcp-one-connection": Case(load=Load(60, 100, "t1")),
    "tcp-connection-a-call": Case(load=Load(60, 100, "tn")),
    "tcp-ipv6": Case(addresses=V6, load=Load(40, 100, "t1")),
    "tcp-big": Case(load=Load(30, 60, "t1", body=20_000)),
    "tcp-big-connection-a-call": Case(load=Load(30, 60, "tn", body=6000, header=2000)),
    "fragments": Case(load=BIG),
    "fragments-any": Case(load=BIG, dev="any"),
    "fragments-ipv6": Case(addresses=V6, load=BIG),
    "fragments-large-header": Case(load=Load(30, 60, "u1", header=3000)),
    "fragments-40": Case(load=Load(10, 20, "u1", body=50_000)),
}
_GRE, _IPIP, _VXLAN = "proto GRE and len > 50", "ip proto 4", "udp port 4789"
_ENDS = "local {local} remote {remote}"
_ERSPAN = f"erspan seq key 5 {_ENDS} erspan_ver"


def _case(filter: str, inner: tuple[str, str], kernel: str, user: str, **more: Any) -> Case:
    return Case(filter, inner, kernel=kernel, user=user, **more)


_IPIP4, _GRE4 = f"ipip {_ENDS}", f"gre {_ENDS}"
_TAP4, _VXLAN4 = f"gretap {_ENDS}", f"vxlan id 5 {_ENDS} dstport 4789"
TUNNELS = {
    "ipip": _case(_IPIP, INNER4, _IPIP4, "ipip"),
    "ipip-fragments": _case(_IPIP, INNER4, _IPIP4, "ipip", load=BIG),
    "ipip-tcp": _case(_IPIP, INNER4, _IPIP4, "ipip", load=Load(30, 60, "t1")),
    "sit": _case("ip proto 41", INNER6, f"sit {_ENDS}", "sit"),
    "ip6ip6": _case("ip6 proto 41", INNER6, f"ip6tnl mode ip6ip6 {_ENDS}", "ip6ip6", outer=V6),
    "ip4ip6": _case("ip6 proto 4", INNER4, f"ip6tnl mode ipip6 {_ENDS}", "ip4ip6", outer=V6),
    "gre": _case(_GRE, INNER4, _GRE4, "gre"),
    "gre-full": _case(_GRE, INNER4, f"{_GRE4} key 77 csum seq", "gre-full"),
    "gre-ipv6-inside": _case(_GRE, INNER6, _GRE4, "gre"),
    "ip6gre": _case("ip6 proto 47", INNER4, f"ip6gre {_ENDS}", "ip6gre", outer=V6),
    "gretap": _case(_GRE, INNER4, _TAP4, "gretap"),
    "gretap-tcp": _case(_GRE, INNER4, _TAP4, "gretap", load=Load(30, 60, "t1")),
    "erspan1": _case("proto GRE", INNER4, f"{_ERSPAN} 0", "erspan1"),
    "erspan2": _case("proto GRE", INNER4, f"{_ERSPAN} 1 erspan 7", "erspan2"),
    "erspan2-fragments": _case("proto GRE", INNER4, f"{_ERSPAN} 1 erspan 7", "erspan2", load=BIG),
    "erspan3": _case("proto GRE", INNER4, f"{_ERSPAN} 2 erspan_dir ingress erspan_hwid 7", "erspan3"),
    "vxlan": _case(_VXLAN, INNER4, _VXLAN4, "vxlan"),
    "vxlan-ipv6-inside": _case(_VXLAN, INNER6, _VXLAN4, "vxlan"),
    "vxlan-fragments": _case(_VXLAN, INNER4, _VXLAN4, "vxlan", load=BIG),
    "vxlan-tcp": _case(_VXLAN, INNER4, _VXLAN4, "vxlan", load=Load(30, 60, "tn", body=4000)),
    "geneve": _case("udp port 6081", INNER4, "geneve id 5 remote {remote}", "geneve"),
    "gtp": Case("udp port 2152", INNER4, user="gtp"),
}
#: Frames that wrap packets: the filter stays that of the packets inside.
LINKS = {
    "vlan": Case(SIP, INNER4, kernel="vlan id 9", vlan=9),
    "vlan-fragments": Case(SIP, INNER4, BIG, kernel="vlan id 9", vlan=9),
    "qinq": Case(SIP, INNER4, kernel="vlan id 9", vlan=9),
    "qinq-ipv6-tcp": Case(SIP, INNER6, Load(30, 60, "t1"), kernel="vlan id 9", vlan=9),
    "mpls": Case(SIP, INNER4),
    "pppoe": Case(SIP, INNER4),
}
INTERFACES = {**TUNNELS, **LINKS}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    net.need()
    need("sipp", "ss")
    with net.pair() as made:
        net.enable_ipv6(*made)
        yield made


class Watch:
    """One running agent at a time, which serves all cases in a row that want the same of it."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self._pair, self._folder, self._number = pair, folder, 0
        self._asked: tuple[str, ...] = ()
        self._life = contextlib.ExitStack()
        self.agent: Any = None
        self.collector: Any = None

    def want(self, case: Case) -> None:
        """Have the agent of this case run."""
        asked = ("--dev", case.dev, "--filter", case.filter, "--no-rtcp")
        if asked == self._asked and self.agent.process.poll() is None:
            return
        self.finish()
        self._number += 1
        b = self._pair[1]
        self.collector = self._life.enter_context(UdpCollector(b.socket))
        words = [*asked, "--to", self.collector.url]
        within = ["ip", "netns", "exec", b.name]
        made = RunningAgent(self._folder, words, within, b.socket, name=f"agent{self._number}")
        self.agent, self._asked = self._life.enter_context(made), asked

    def after(self, begin: int, count: int) -> list[Message]:
        """Return what has come since there were `begin` messages; `count` are expected, more are seen."""
        datagrams = self.collector.datagrams
        until(lambda: len(datagrams) >= begin + count)
        seen = -1
        while len(datagrams) != seen:  # nothing more for a while
            seen = len(datagrams)
            time.sleep(0.2)
        self.agent.settled()
        return [parse(octets) for octets in datagrams[begin:seen]]

    def finish(self) -> None:
        """End the agent; all it has taken it has sent."""
        if self.agent is not None:
            counters = self.agent.finish()
            (target,) = counters["targets"].values()
            assert target["taken"] == target["sent"] == len(self.collector.close())
        self.close()

    def close(self) -> None:
        """End what runs, whatever happened."""
        self._life.close()
        self._asked, self.agent = (), None


@pytest.fixture(scope="module")
def watch(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    made = Watch(pair, tmp_path_factory.mktemp("agents"))
    try:
        yield made
        made.finish()
    finally:
        made.close()


def check(pair: Pair, watch: Watch, case: Case, tmp_path: Path) -> None:
    """Run calls past an agent; compare what it sent with sipp's trace."""
    watch.want(case)
    begin = len(watch.collector.datagrams)
    wanted = sipp.run(*pair, case.addresses, case.load, tmp_path)
    assert len(wanted) >= 6 * case.load.calls
    got = watch.after(begin, len(wanted))
    check_same([message.key for message in got], wanted, f"{watch.agent.stats()['total']}")
    protocol = 17 if case.load.transport.startswith("u") else 6
    ends = {(case.addresses[0], case.addresses[1]), (case.addresses[1], case.addresses[0])}
    assert {(m.src[0], m.dst[0]) for m in got} <= ends
    assert {m.protocol for m in got} == {protocol}
    assert {m.family for m in got} == {10 if ":" in case.addresses[0] else 2}
    assert {m.vlan for m in got} == {case.vlan}


def in_order(cases: dict[str, Case]) -> list[str]:
    """Names of cases, those that want the same agent in a row."""
    return sorted(cases, key=lambda name: (cases[name].dev, cases[name].filter))


@pytest.mark.parametrize("name", in_order(CASES))
def test_calls(pair: Pair, watch: Watch, name: str, tmp_path: Path) -> None:
    check(pair, watch, CASES[name], tmp_path)


def has(pair: Pair, case: Case) -> bool:
    """Whether this kernel has the interfaces of a case."""
    local, remote = case.outer
    return bool(case.kernel) and pair[0].has_type(case.kernel.format(local=local, remote=remote))


def kernel_or_skip(pair: Pair, case: Case) -> None:
    if not has(pair, case):
        kind = case.kernel.split()[0]
        module = {"ip6tnl": "ip6_tunnel", "vlan": "8021q", "ip6gre": "ip6_gre"}.get(kind, kind)
        module = "ip_gre" if kind in ("gre", "gretap", "erspan") else module
        pytest.skip(f"this kernel has no interfaces of type {kind} (module {module})")


@contextlib.contextmanager
def kernel_tunnel(pair: Pair, case: Case, name: str) -> Iterator[None]:
    """The kernel's own interfaces: t0, which leads to the other side."""
    made: list[Namespace] = []
    try:
        for end, local, remote in ((pair[0], *case.outer), (pair[1], *case.outer[::-1])):
            below = ""
            if case.kernel.startswith("vlan"):
                below = f"link {end.dev} "
            if name.startswith("qinq"):
                end.ip(f"link add link {end.dev} name t1 type vlan protocol 802.1ad id 8")
                end.ip("link set t1 up")
                below = "link t1 "
            made.append(end)
            end.ip(f"link add {below}name t0 type {case.kernel.format(local=local, remote=remote)}")
            end.ip("link set t0 up")
        yield
    finally:
        for end in made:
            for dev in ("t0", "t1"):
                end.run("ip", "link", "delete", dev, check=False)


def give_addresses(pair: Pair, addresses: tuple[str, str]) -> None:
    for end, address in zip(pair, addresses, strict=True):
        if ":" in address:
            end.run("sysctl", "-qw", "net.ipv6.conf.t0.disable_ipv6=0")
        end.ip(f"address add {address}/{64 if ':' in address else 24} dev t0" + " nodad" * (":" in address))


@pytest.mark.parametrize("name", [name for name in in_order(INTERFACES) if INTERFACES[name].kernel])
def test_interfaces_of_the_kernel(pair: Pair, watch: Watch, name: str, tmp_path: Path) -> None:
    case = INTERFACES[name]
    kernel_or_skip(pair, case)
    with kernel_tunnel(pair, case, name):
        give_addresses(pair, case.addresses)
        check(pair, watch, case, tmp_path)


@pytest.mark.parametrize("name", in_order(INTERFACES))
def test_interfaces_in_user_space(pair: Pair, watch: Watch, name: str, tmp_path: Path) -> None:
    case = INTERFACES[name]
    if has(pair, case):
        pytest.skip("tested with the kernel's own interface")
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    with (
        tunnel.opened(*pair, tunnel.FORMATS[case.user])
        if case.user
        else tunnel.linked(*pair, tunnel.LINKS[name.split("-")[0]])
    ):
        give_addresses(pair, case.addresses)
        check(pair, watch, case, tmp_path)
