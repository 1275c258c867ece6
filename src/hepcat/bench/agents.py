"""Who speaks in the load generator: user agents with their habits, addresses, users and media.

In: a Builder. Out: for each `Agent` (a kind of user agent) the meaning of the fields of
hepcat.bench.dialogs, and the addresses of each way as HEP writes them. All made up: addresses are of
private or documentation ranges (RFC 1918, RFC 3849, RFC 5737), domains are example domains (RFC 2606).
"""

import ipaddress
import random as stdlib_random
from dataclasses import dataclass
from typing import Final

from hepcat.bench.dialogs import DOWN, ON, UP
from hepcat.bench.templates import BODY_LENGTH, Builder, Op, Value, number, random

# Keys of what is random in a dialog. Branches take BRANCH + number of the transaction.
CALLER, CALLEE, PROXY, USER, USER_B, FIRST, LAST, DOMAIN, AGENT_B = range(1, 10)
CALL_ID, CALL_ID_2, CALL_ID_3, CALL_ID_4, CALL_ID_5 = range(10, 15)
FROM_TAG, TO_TAG, TO_TAG_2, CSEQ, CSEQ_B, NONCE, RESPONSE, CNONCE = range(20, 28)
SESSION, SESSION_B, RTP, RTP_B, ICE = range(30, 35)
BRANCH, BRANCH_PROXY, BRANCH_CALLEE = 40, 60, 80

_FIRST_NAMES: Final = (
    "Alice", "Bob", "Carol", "David", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy", "Karl",
    "Laura", "Mallory", "Nina", "Olivia", "Peggy", "Quentin", "Rupert", "Sybil", "Trent", "Ursula",
    "Victor", "Walter", "Xenia", "Yvonne", "Zoe", "Anna", "Bruno", "Clara", "Dieter", "Elena", "Fabio",
    "Greta", "Hugo", "Ines", "Jakob",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Abel", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Hansen", "Ivanov", "Jansen",
    "Keller", "Lang", "Moreau", "Novak", "Olsen", "Peters", "Quist", "Rossi", "Schmidt", "Tanaka",
    "Urban", "Vogel", "Weber", "Young", "Zimmer", "Adler", "Bauer", "Conti", "Dahl", "Evans", "Ferrari",
    "Graf", "Huber",
)  # fmt: skip
_DOMAINS: Final = (
    b"sip.example.com", b"voice.example.net", b"pbx.example.org", b"berlin.example.com",
    b"customer-117.example.net", b"customer-204.example.net", b"customer-388.example.net",
    b"hosted.example.org", b"edge.example.com", b"trunk.example.net", b"ims.example.org",
    b"office.example.com",
)  # fmt: skip
_CALLEE_AGENTS: Final = (
    b"Deskline T46/108.86.0.20", b"Deskline D785/10.1.169.3", b"MobileDial 5.21.2 (Android 14)",
    b"OpenPBX 20.5.0", b"Gatewayer 4400/7.40A.500.357", b"SoftTalk/3.20.7", b"Conference Bridge 2.1",
    b"Deskline M900/07.60.0021",
)  # fmt: skip
_PROXY_AGENTS: Final = (b"sip-router (5.8.4 (x86_64/linux))", b"EdgeProxy 3.4.9", b"Registrar/2.11")

_OFFER_HEAD: Final = (
    "v=0\no={o_user} {session} {session} IN {net} {a_host}\ns={s_name}\nc=IN {net} {a_host}\nt=0 0\n"
)
_TELEPHONE: Final = "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\n"
_MEDIA: Final[dict[str, str]] = {
    "desk": "m=audio {rtp} RTP/AVP 9 8 0 18 101\na=rtpmap:9 G722/8000\na=rtpmap:8 PCMA/8000\n"
    "a=rtpmap:0 PCMU/8000\na=rtpmap:18 G729/8000\na=fmtp:18 annexb=no\n"
    + _TELEPHONE
    + "a=ptime:20\na=sendrecv\n",
    "pbx": "m=audio {rtp} RTP/AVP 8 0 101\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\n"
    + _TELEPHONE
    + "a=ptime:20\na=maxptime:150\na=sendrecv\n",
    "soft": "m=audio {rtp} RTP/AVP 96 97 9 8 0 101\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\n"
    "a=rtpmap:97 speex/16000\na=rtpmap:9 G722/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\n"
    + _TELEPHONE
    + "a=rtcp-mux\na=ssrc:{ssrc} cname:{cname}\na=sendrecv\n",
    "trunk": "m=audio {rtp} RTP/AVP 8 101\na=rtpmap:8 PCMA/8000\n" + _TELEPHONE + "a=ptime:20\n",
}
_ANSWER_TEXT: Final = (
    "v=0\no=- {session_b} {session_b} IN {net} {b_host}\ns=-\nc=IN {net} {b_host}\nt=0 0\n"
    "m=audio {rtp_b} RTP/AVP 8 101\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\n"
    "a=fmtp:101 0-16\na=ptime:20\na=sendrecv\n"
)
_ALLOW: Final = "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, PRACK, UPDATE, MESSAGE\n"


@dataclass(frozen=True, slots=True)
class Agent:
    """A kind of user agent: its share of the dialogs, and how it writes what the standard leaves open."""

    name: str
    weight: float
    agent: bytes
    media: str
    invite_headers: str
    call_id: tuple[Op | str, ...]
    tag: tuple[Op | bytes, ...]
    branch: tuple[int, str]  # length and alphabet
    cseq: tuple[int, int]  # range and first of the CSeq of a dialog
    named: bool  # writes a display name
    trunk: bool = False  # calls and is called by telephone numbers
    family: int = 4


_UUID: Final = (
    random(CALL_ID, 8), "-", random(CALL_ID_2, 4), "-", random(CALL_ID_3, 4), "-", random(CALL_ID_4, 4), "-",
    random(CALL_ID_5, 12),
)  # fmt: skip

AGENTS: Final[tuple[Agent, ...]] = (
    Agent(
        "desk phone", 30, b"Deskline T46/108.86.0.20", "desk",
        _ALLOW + "Supported: replaces,100rel\nAllow-Events: talk,hold,conference,refer,check-sync\n",
        (random(CALL_ID, 32), "@{a_host}"), (random(FROM_TAG, 10, "digits"),), (24, "hex"), (30000, 1), True,
    ),
    Agent(
        "softphone", 18, b"SoftTalk/3.20.7 (linux; x86_64)", "soft",
        _ALLOW + "Supported: replaces, outbound, gruu, path\nSession-Expires: 1800\nMin-SE: 90\n",
        (random(CALL_ID, 22, "token"), "."), (random(FROM_TAG, 10, "token"),), (24, "token"), (20, 20), False,
    ),
    Agent(
        "pbx", 18, b"OpenPBX 20.5.0", "pbx",
        "Date: Thu, 01 Jan 2026 00:00:00 GMT\n" + _ALLOW
        + "Supported: replaces, timer\nP-Asserted-Identity: <sip:{a_user}@{domain}>\n",
        (*_UUID,), (b"as", random(FROM_TAG, 8)), (16, "hex"), (1, 102), True,
    ),
    Agent(
        "trunk", 16, b"Gatewayer 4400/7.40A.500.357", "trunk",
        _ALLOW + "P-Asserted-Identity: <sip:{a_user}@{domain};user=phone>\nPrivacy: none\n"
        "P-Charging-Vector: icid-value={icid};orig-ioi=example.net\n",
        (random(CALL_ID, 32), "_b2b-1@{a_host}"), (b"gK", random(FROM_TAG, 12)), (32, "hex"), (90000, 1000),
        False, trunk=True,
    ),
    Agent(
        "mobile client", 12, b"MobileDial 5.21.2 (Android 14; Pixel 8)", "soft",
        _ALLOW + "Supported: replaces, ice, outbound\n"
        "Session-ID: {icid};remote=00000000000000000000000000000000\n",
        (*_UUID,), (random(FROM_TAG, 12, "token"),), (22, "token"), (60000, 1), True,
    ),
    Agent(
        "desk phone, IPv6", 6, b"Deskline D785/10.1.169.3", "desk",
        _ALLOW + "Supported: timer, 100rel, replaces, from-change\n"
        "Allow-Events: talk, hold, refer, call-info\n",
        (random(CALL_ID, 32), "-", random(CALL_ID_2, 12, "token")), (random(FROM_TAG, 10, "token"),),
        (12, "token"), (1, 1), True, family=6,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Side:
    """The tables of one group of hosts: address in text, port in text, both as octets, one size each."""

    text: int
    port_text: int
    octets: int
    port_octets: int
    key: int

    def fields(self, builder: Builder) -> tuple[Op, Op]:
        """Address and port as octets."""
        return builder.pick(self.octets, self.key), builder.pick(self.port_octets, self.key)


class World:
    """The tables of users and hosts, made of one seed: the same in every run."""

    def __init__(self, builder: Builder, users: int = 12_000, hosts: int = 4_000) -> None:
        """Fill the tables: small enough to stay in a processor's cache while messages are written."""
        dice = stdlib_random.Random(5060)
        self.builder = builder
        self.users = builder.table([_user(dice, i) for i in range(users)])
        self.firsts = builder.table([name.encode() for name in _FIRST_NAMES])
        self.lasts = builder.table([name.encode() for name in _LAST_NAMES])
        self.domains = builder.table(_DOMAINS)
        self.callee_agents = builder.table(_CALLEE_AGENTS)
        self.proxy_agents = builder.table(_PROXY_AGENTS)
        self.sides: dict[tuple[int, int], Side] = {}
        for family, key, nets, count in (
            (4, CALLER, ("10.0.0.0/8", "172.16.0.0/12", "198.51.100.0/24"), hosts),
            (6, CALLER, ("2001:db8:10::/48",), hosts // 8),
            (4, CALLEE, ("10.64.0.0/10", "203.0.113.0/24"), hosts // 2),
            (6, CALLEE, ("2001:db8:20::/48",), hosts // 8),
            (4, PROXY, ("192.0.2.0/28",), 6),
            (6, PROXY, ("2001:db8::/124",), 2),
        ):
            self.sides[family, key] = self._side(dice, key, nets, count)

    def _side(self, dice: stdlib_random.Random, key: int, nets: tuple[str, ...], count: int) -> Side:
        """Draw hosts of the networks; a proxy listens on 5060, most phones behind a NAT elsewhere."""
        groups = [ipaddress.ip_network(net) for net in nets]
        hosts = []
        for i in range(count):
            net = groups[min(dice.randrange(len(groups) + 2), len(groups) - 1) if key != PROXY else 0]
            host = net[i + 1] if key == PROXY else net[dice.randrange(1, min(net.num_addresses, 2**32) - 1)]
            hosts.append((host, 5060 if key == PROXY or dice.random() < 0.5 else dice.randrange(1024, 65536)))
        table = self.builder.table
        return Side(
            table([str(host).encode() for host, _ in hosts]),
            table([str(port).encode() for _, port in hosts]),
            table([host.packed for host, _ in hosts]),
            table([port.to_bytes(2, "big") for _, port in hosts]),
            key,
        )

    def way(self, family: int, way: int) -> tuple[Side, Side]:
        """Return who sends and who receives on a way of hepcat.bench.dialogs."""
        proxy = self.sides[family, PROXY]
        other = self.sides[family, CALLER if way in (UP, DOWN) else CALLEE]
        return (other, proxy) if way not in (DOWN, ON) else (proxy, other)

    def fields(self, agent: Agent) -> dict[str, Value]:
        """Return what every field of hepcat.bench.dialogs stands for in this agent's dialogs."""
        pick = self.builder.pick
        fields: dict[str, Value] = {"body_length": BODY_LENGTH, "agent": agent.agent}
        for mark, key in (("a", CALLER), ("b", CALLEE), ("p", PROXY)):
            side = self.sides[agent.family, key]
            host = pick(side.text, key)
            fields[f"{mark}_host"] = host
            fields[f"{mark}_ip"] = [b"[", host, b"]"] if agent.family == 6 else host
            fields[f"{mark}_port"] = pick(side.port_text, key)
        fields |= self._people(agent) | _numbers(agent)
        call_id: list[Op | bytes] = []
        for part in agent.call_id:
            call_id += self.builder.expand(part, fields) if isinstance(part, str) else [part]
        fields["call_id"] = call_id
        net = "IP6" if agent.family == 6 else "IP4"
        fields["net"] = net.encode()
        media = _OFFER_HEAD + _MEDIA[agent.media]
        for name, text in (
            ("offer", media),
            ("answer", _ANSWER_TEXT),
            ("invite_headers", agent.invite_headers),
            ("answer_headers", _ALLOW + "Supported: replaces, timer\n"),
            ("register_headers", _ALLOW),
        ):
            fields[name] = self.builder.expand(text.replace("\n", "\r\n"), fields)
        return fields

    def _people(self, agent: Agent) -> dict[str, Value]:
        """Users and names; a trunk's are telephone numbers (E.164)."""
        pick = self.builder.pick
        named: Value = [b'"', pick(self.firsts, FIRST), b" ", pick(self.lasts, LAST), b'" ']
        return {
            "a_user": [b"+49", random(USER, 9, "digits")] if agent.trunk else pick(self.users, USER),
            "b_user": [b"+44", random(USER_B, 9, "digits")] if agent.trunk else pick(self.users, USER_B),
            "a_name": named if agent.named else b"",
            "domain": pick(self.domains, DOMAIN),
            "callee_agent": pick(self.callee_agents, AGENT_B),
            "proxy_agent": pick(self.proxy_agents, PROXY),
        }


def _numbers(agent: Agent) -> dict[str, Value]:
    """Tags, branches, sequence numbers, digests, ports: what is random in each dialog."""
    length, alphabet = agent.branch
    size, first = agent.cseq
    fields: dict[str, Value] = {
        "ftag": list(agent.tag),
        "ttag": [b"as", random(TO_TAG, 8)],
        "ttag2": [random(TO_TAG_2, 32), b".", random(TO_TAG, 8)],
        "nonce": random(NONCE, 40),
        "response": random(RESPONSE, 32),
        "cnonce": random(CNONCE, 16),
        "cseq_callee": number(CSEQ_B, 100, 1),
        "icid": random(ICE, 32),
        "session": number(SESSION, 2**30, 2**30),
        "session_b": number(SESSION_B, 2**30, 2**30),
        "rtp": number(RTP, 25_000, 10_000),
        "rtp_b": number(RTP_B, 20_000, 40_000),
        "ssrc": number(ICE, 2**30, 2**30),
        "cname": random(ICE, 16, "token"),
        "o_user": b"-" if agent.media == "soft" else b"root",
        "s_name": b"call" if agent.media == "pbx" else b"-",
    }
    for name, added in (("cseq", 0), ("cseq1", 1), ("cseq2", 2)):
        fields[name] = number(CSEQ, size, first + added)
    for i in range(6):
        fields[f"br{i}"] = random(BRANCH + i, length, alphabet)
        fields[f"proxy_br{i}"] = [random(BRANCH_PROXY + i, 4), b".", random(BRANCH_PROXY + 10 + i, 32)]
        fields[f"callee_br{i}"] = random(BRANCH_CALLEE + i, 20)
    return fields


def _user(dice: stdlib_random.Random, i: int) -> bytes:
    """Draw a user's name: an extension, a telephone number, or a name."""
    kind = dice.randrange(10)
    if kind < 4:
        return b"%d" % (1000 + dice.randrange(9000))
    if kind < 7:
        return b"+4930%07d" % dice.randrange(10_000_000)
    return f"{dice.choice(_FIRST_NAMES)}.{dice.choice(_LAST_NAMES)}{i % 1000}".lower().encode()
