"""Settings of `hepcat agent`: profiles (what to capture), targets (where to send), and what they share.

In: the tables [agent], [[agent.profiles]], [[agent.targets]] and their like. Out: `AgentSettings`. What
can go wrong: pydantic's ValidationError, which the loader turns into messages with file and line.
Times are seconds, sizes octets.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from hepcat.config.section import Section
from hepcat.config.values import HepUrl, Octets

Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")]
_TARGET_URL: Final = re.compile(r"(udp|tcp|tls|https?)://[^\s]+")


def _target_url(text: str) -> str:
    if not _TARGET_URL.fullmatch(text):
        raise ValueError(
            f'"{text}": a target is udp://, tcp:// or tls://HOST:PORT (json also http://, https://)'
        )
    return text


TargetUrl = Annotated[str, AfterValidator(_target_url)]
CaptureFilter = Literal["sip", "rtcp", "rtp", "ip_to_ip"]
ShedRule = Literal["calls", "media", "responses", "registrations", "none"]


class TargetSettings(Section):
    """[[agent.targets]]: where a plan's send functions send to, by name."""

    name: Name = Field("hepsocket", description='The name that capture plans use: send_hep("NAME").')
    kind: Literal["hep", "json", "pcap", "lake"] = Field(
        "hep", description="HEP datagrams or streams, JSON lines, capture files, or the lake of this machine."
    )
    urls: tuple[TargetUrl, ...] = Field(
        (), description="Where to: udp://, tcp:// or tls://HOST:PORT; JSON also http:// and https://."
    )
    path: Path | None = Field(None, description="pcap: file name, with %Y%m%d-%H%M%S; lake: its folder.")
    mode: Literal["all", "failover", "balance"] = Field(
        "all", description="Several URLs: each gets everything, the first that answers, or by Call-ID."
    )
    version: Literal[1, 2, 3] = Field(3, description="HEP version.")
    key: SecretStr | None = Field(None, description="Authentication key (HEP chunk 0x000e).")
    key_file: Path | None = Field(None, description="File whose first line is the key.")
    key_env: str | None = Field(None, description="Environment variable that holds the key.")
    node_id: int | None = Field(
        None, ge=0, le=0xFFFFFFFF, description="Capture id sent to this target; not set, the agent's."
    )
    compress: bool = Field(False, description="zlib for payloads that it makes shorter (chunk 0x0010).")
    bind: str | None = Field(None, description="Local ADDRESS or ADDRESS:PORT to send UDP from.")
    pairs: bool = Field(
        True, description="UDP: two datagrams at once through the kernel, which cuts them apart again."
    )
    ca: Path | None = Field(None, description="TLS: CA certificates to trust instead of the system's.")
    certificate: Path | None = Field(None, description="TLS: own certificate with its chain.")
    private_key: Path | None = Field(None, description="TLS: own private key.")
    verify: bool = Field(True, description="TLS: check the target's certificate and name.")
    memory: Octets = Field(
        16 * 2**20, ge=2**16, description="Octets held for a stream target that is away or slow."
    )
    spool: Path | None = Field(None, description="Folder for what does not fit into memory.")
    spool_limit: Octets = Field(2**30, ge=2**20, description="Octets in the spool folder at most.")
    payload: bool = Field(True, description="JSON: send the payload too.")
    rotate_octets: Octets = Field(0, ge=0, description="pcap: a new file after so many octets; 0 never.")
    rotate_seconds: float = Field(0, ge=0, description="pcap: a new file after so many seconds; 0 never.")
    gzip: bool = Field(False, description="pcap: compress.")

    @model_validator(mode="after")
    def _complete(self) -> "TargetSettings":
        if self.kind in ("hep", "json") and not self.urls:
            raise ValueError(f"target {self.name} has no urls")
        if self.kind in ("pcap", "lake") and self.path is None:
            raise ValueError(f"target {self.name} has no path")
        twice = sorted({url for url in self.urls if self.urls.count(url) > 1})
        if twice:
            raise ValueError(
                f"target {self.name} names {twice[0]} twice: every record would be sent there twice"
            )
        if self.kind == "hep" and any(url.startswith("http") for url in self.urls):
            raise ValueError(f"target {self.name}: HEP goes over udp, tcp or tls, not http")
        if sum(x is not None for x in (self.key, self.key_file, self.key_env)) > 1:
            raise ValueError(f"target {self.name}: give one of key, key_file and key_env")
        return self


class ProfileSettings(Section):
    """[[agent.profiles]]: one thing to capture, and the plan that its messages go through."""

    name: Name = Field("sip", description="Name in logs and counters.")
    enable: bool = Field(True, description="Whether it runs.")
    dev: tuple[str, ...] = Field(("any",), description='Interfaces; "any" is all of them.')
    filter: str = Field("", description="libpcap filter expression; empty takes everything.")
    capture_filter: tuple[CaptureFilter, ...] = Field(
        (),
        description="Further checks of what is inside: sip, rtcp, rtp, ip_to_ip (inner port 5060 to 5090).",
    )
    ports: str = Field(
        "", description='Ports of the innermost packet that are wanted, "5060-5091,8060"; empty: all.'
    )
    hep: tuple[HepUrl, ...] = Field((), description="Receive HEP there instead of capturing: udp, tcp, tls.")
    collect: str = Field(
        "", description="Receive plain SIP (RTCP-XR reports in PUBLISH) on this ADDRESS:PORT, UDP, instead."
    )
    reply: bool = Field(
        False, description="collect: answer requests that the plan does not answer with 200 OK."
    )
    tzsp: str = Field("", description="Receive TZSP on this ADDRESS:PORT instead of capturing.")
    promisc: bool = Field(True, description="Promiscuous mode.")
    workers: int = Field(1, ge=1, le=64, description="Threads an interface (PACKET_FANOUT by flow).")
    ring_buffer: Octets = Field(12 * 2**20, ge=2**18, le=2**31, description="Ring of each worker, octets.")
    snap_len: int = Field(65535, ge=64, le=262144, description="Octets of a packet that are captured.")
    timeout: int = Field(20, ge=1, le=10000, description="Milliseconds a ring block waits to fill.")
    reassemble: bool = Field(True, description="Put IPv4 and IPv6 fragments together.")
    pass_fragments: bool = Field(True, description="Let fragments pass the filter in the kernel.")
    tcp: bool = Field(True, description="Read messages out of TCP streams.")
    websocket: bool = Field(True, description="Read SIP in WebSocket (RFC 7118).")
    tls: bool = Field(True, description="Decrypt TLS where [agent.tls] has secrets.")
    sctp: bool = Field(True, description="Read SCTP data chunks.")
    tunnels: bool = Field(
        True, description="Open tunnels: IP in IP, GRE, ERSPAN, VXLAN, GENEVE, GTP-U, TZSP."
    )
    join_datagrams: bool = Field(
        False, description="Join SIP messages that a sender spreads over several unmarked UDP datagrams."
    )
    plan: Path | None = Field(
        None, description="Capture plan file; not set, the built-in one for `hep_type`."
    )
    plan_text: str | None = Field(None, description="The capture plan itself.")
    targets: tuple[Name, ...] = Field((), description="Targets of the built-in plan; empty: all targets.")
    hep_type: int | None = Field(
        None,
        ge=0,
        le=255,
        description="HEP protocol type of what is not SIP, RTCP or another known protocol.",
    )
    ip_replace: str = Field("", description='Addresses to replace, "IP[:PORT]-IP[:PORT];...".')
    stats_interval: float = Field(
        300.0, ge=0, description="Seconds between log lines of kernel drops; 0 none."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ProfileSettings":
        if len(set(self.dev)) != len(self.dev) or ("any" in self.dev and len(self.dev) > 1):
            raise ValueError(
                f'profile {self.name}: dev names an interface twice ("any" is all of them): '
                "every message would be sent twice"
            )
        sources = [name for name in ("hep", "collect", "tzsp") if getattr(self, name)]
        if len(sources) > 1:
            raise ValueError(f"profile {self.name}: {' and '.join(sources)}: make a profile of each")
        if self.plan is not None and self.plan_text is not None:
            raise ValueError(f"profile {self.name}: give one of plan and plan_text")
        return self


class AgentTlsSettings(Section):
    """[agent.tls]: secrets to read TLS with."""

    keylog: Path | None = Field(
        None, description="Key log file (SSLKEYLOGFILE format), followed as it grows."
    )
    rsa_keys: tuple[Path, ...] = Field(
        (), description="RSA private keys, PEM: TLS 1.2 without forward secrecy can be read with them."
    )
    wait: float = Field(5.0, ge=0, le=300, description="Seconds that records wait for their secret.")
    memory: Octets = Field(8 * 2**20, ge=2**16, description="Octets of records held for their secret.")


class MediaSettings(Section):
    """[agent.media]: how RTCP finds its Call-ID."""

    timeout: float = Field(80.0, gt=0, description="Seconds an address learnt from SDP is kept unused.")
    entries: int = Field(100_000, ge=16, description="Addresses held at most.")
    nat: bool = Field(True, description="Also learn the address that a call's media really comes from.")


class LimitSettings(Section):
    """[agent.limits]: bounds on memory of each capture worker."""

    fragments: Octets = Field(4 * 2**20, ge=2**16, description="Octets of IP fragments held.")
    fragment_timeout: float = Field(15.0, gt=0, description="Seconds a datagram may take to become whole.")
    streams: int = Field(10_000, ge=16, le=1_000_000, description="TCP streams held.")
    stream_octets: Octets = Field(16 * 2**20, ge=2**16, description="Octets of all TCP streams held.")
    stream_idle: float = Field(600.0, gt=0, description="Seconds after which a silent stream is forgotten.")
    stream_gap: float = Field(2.0, gt=0, description="Seconds a lost segment is waited for.")
    message: Octets = Field(65535, ge=1024, le=65535, description="Longest message cut from a stream.")


class AgentSettings(Section):
    """[agent]: the capture agent."""

    node_id: int = Field(2001, ge=0, le=0xFFFFFFFF, description="Capture id (HEP chunk 0x000c).")
    node_name: str = Field("", max_length=255, description="Capture node's name (HEP chunk 0x0013).")
    cpu: tuple[int, ...] = Field((), description="CPUs to run on; empty: all.")
    cpu_limit: int = Field(0, ge=0, le=6400, description="CPU ceiling, percent of one core; 0: none.")
    shed: ShedRule = Field(
        "calls",
        description="What is left out above cpu_limit: calls (whole ones, by Call-ID), media, "
        "responses (provisional ones), registrations (and OPTIONS, SUBSCRIBE, NOTIFY, PUBLISH), none.",
    )
    plans: Path | None = Field(None, description="Folder that plan names are looked up in.")
    regexps: dict[str, str] = Field(
        default_factory=dict, description="Named regular expressions for header_regexp_match."
    )
    custom_headers: tuple[str, ...] = Field(
        (), description="Further headers read by parse_sip, for header_check."
    )
    isup_correlation: bool = Field(True, description="ISUP: opc:dpc:cic as correlation id.")
    profiles: tuple[ProfileSettings, ...] = Field((), description="What to capture.")
    targets: tuple[TargetSettings, ...] = Field((), description="Where to send.")
    tls: AgentTlsSettings = Field(default=AgentTlsSettings(), description="Secrets to read TLS with.")
    media: MediaSettings = Field(default=MediaSettings(), description="How RTCP finds its Call-ID.")
    limits: LimitSettings = Field(default=LimitSettings(), description="Bounds on memory.")

    @model_validator(mode="after")
    def _consistent(self) -> "AgentSettings":
        for what, names in (
            ("profiles", [profile.name for profile in self.profiles]),
            ("targets", [target.name for target in self.targets]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f'two {what} have the same name, "{twice[0]}"')
        known = {target.name for target in self.targets}
        for profile in self.profiles:
            missing = [name for name in profile.targets if name not in known]
            if missing:
                raise ValueError(f"profile {profile.name}: there is no target {missing[0]}")
        return self
