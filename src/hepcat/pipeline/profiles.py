"""A profile of the settings, made ready to run: its plan compiled, its filter put together, its bounds.

In: `ProfileSettings` and what all profiles share. Out: `Prepared`. What can go wrong: HepcatError, with the
file, line and column of a plan, or the filter expression and libpcap's words.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hepcat.batch.layout import Array
from hepcat.config.agent import AgentSettings, ProfileSettings
from hepcat.errors import HepcatError
from hepcat.pipeline.replacing import parse_replacements
from hepcat.plans.builtin import builtin_plan
from hepcat.plans.compiler import Plan, compile_plan
from hepcat.sources.filters import Filter, Link, compile_filter
from hepcat.wire.columns import TUNNELS_ALL
from hepcat.wire.dissect import DissectOptions

#: RTP version 2 with RTCP's packet types 200 to 204 (RFC 3550 section 12.1), told in the kernel already.
#: libpcap's udp[] reads IPv4 only; ip6[] counts from the IPv6 header, so extension headers hide it there.
RTCP_EXPRESSION: Final = (
    "(udp[8] & 0xc0 = 0x80 and udp[9] >= 200 and udp[9] <= 204)"
    " or (ip6 proto 17 and ip6[48] & 0xc0 = 0x80 and ip6[49] >= 200 and ip6[49] <= 204)"
)
RTP_EXPRESSION: Final = "(udp[8] & 0xc0 = 0x80) or (ip6 proto 17 and ip6[48] & 0xc0 = 0x80)"
#: IP in IP, all four combinations (protocol numbers 4 and 41).
IPIP_EXPRESSION: Final = "ip proto 4 or ip proto 41 or ip6 proto 4 or ip6 proto 41"
#: The inner ports that `ip_to_ip` takes, as the original does.
IPIP_PORTS: Final = "5060-5090"


#: Kinds of targets that read the addresses within a message.
_READ_ADDRESSES: Final = ("json", "lake")


@dataclass(slots=True)
class Prepared:
    """A profile ready to run. expression: what the kernel filters by. plan: compiled, not yet bound."""

    settings: ProfileSettings
    plan: Plan
    expression: str
    dissect: DissectOptions
    warnings: tuple[str, ...] = ()
    #: whether nobody, neither the plan nor a target, reads more than a brief SIP index has
    brief: bool = False

    @property
    def name(self) -> str:
        return self.settings.name

    def filter(self, link: Link = "ethernet") -> Filter | None:
        """Compile the expression for a link; None where everything is wanted. Raises HepcatError."""
        if not self.expression:
            return None
        own = self.settings
        fragments = own.reassemble and own.pass_fragments
        where = f"profile {self.name}"
        try:
            return compile_filter(self.expression, link, fragments, own.snap_len, where=where)
        except HepcatError:
            if (
                own.filter and own.filter != self.expression
            ):  # named as it was written, if that is what is wrong
                compile_filter(own.filter, link, fragments, own.snap_len, where=where)
            raise


def prepare(agent: AgentSettings) -> list[Prepared]:
    """Make every enabled profile ready. Raises HepcatError."""
    targets = [target.name for target in agent.targets]
    return [_prepare(profile, agent, targets) for profile in agent.profiles if profile.enable]


def _prepare(profile: ProfileSettings, agent: AgentSettings, targets: list[str]) -> Prepared:
    text, source = plan_source(profile, agent, targets)
    try:
        plan = compile_plan(text, source, targets, agent.regexps, agent.custom_headers)
    except HepcatError as error:
        raise HepcatError(f"profile {profile.name}: {error}", error.hint) from None
    if profile.ip_replace:
        parse_replacements(profile.ip_replace)  # before anything is opened
    expression, notes = kernel_expression(profile)
    if not plan.targets:
        notes.append(f'profile {profile.name}: {source} sends nothing: it calls no send_hep("TARGET")')
    read = {target.name for target in agent.targets if target.kind in _READ_ADDRESSES}
    return Prepared(
        profile,
        plan,
        expression,
        dissect_options(profile, agent),
        (*map(str, plan.warnings), *notes),
        brief=not plan.reads_addresses and not plan.targets & read,
    )


def plan_source(profile: ProfileSettings, agent: AgentSettings, targets: list[str]) -> tuple[str, str]:
    """Return a profile's plan as text, and what to call it in errors. Raises HepcatError."""
    if profile.plan_text is not None:
        return profile.plan_text, f"{profile.name}.plan_text"
    if profile.plan is None:
        kind = "rtcp" if profile.capture_filter == ("rtcp",) else "default"
        return builtin_plan(kind, profile.targets or tuple(targets)), f"built-in plan {kind}"
    path = profile.plan
    if not path.is_absolute() and agent.plans is not None:
        path = agent.plans / path
    try:
        return Path(path).read_text(), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise HepcatError(
            f"profile {profile.name}: cannot read the capture plan {path}: {reason}",
            "`plan` names a file; relative names are looked up in `plans` of [agent], else from here.",
        ) from None


def kernel_expression(profile: ProfileSettings) -> tuple[str, list[str]]:
    """Return the filter expression for the kernel, and notes for the operator."""
    if profile.tzsp:
        return "", []
    parts, notes = [f"({profile.filter})"] if profile.filter else [], []
    for name, expression in (("rtcp", RTCP_EXPRESSION), ("rtp", RTP_EXPRESSION)):
        if name in profile.capture_filter:
            parts.append(f"({expression})")
    if "ip_to_ip" in profile.capture_filter:
        if "port" in profile.filter:
            parts = parts[1:]
            notes.append(
                f'profile {profile.name}: filter "{profile.filter}" names ports, which the outer packet of '
                f"ip_to_ip does not have; the inner ports {IPIP_PORTS} are checked instead"
            )
        parts.append(f"({IPIP_EXPRESSION})")
    if parts == [f"({profile.filter})"]:
        return profile.filter, notes
    return " and ".join(parts), notes


def parse_ports(text: str) -> Array:
    """Return (low, high) pairs, uint16, of "5060-5091,8060". Raises HepcatError."""
    pairs: list[tuple[int, int]] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        low, _, high = part.partition("-")
        try:
            pair = int(low), int(high or low)
        except ValueError:
            pair = (0, -1)
        if not 0 <= pair[0] <= pair[1] <= 65535:
            raise HepcatError(f'ports: "{part}" is no port or range of ports', 'Write "5060-5091,8060".')
        pairs.append(pair)
    return np.array(list(itertools.chain.from_iterable(pairs)), dtype=np.uint16)


def dissect_options(profile: ProfileSettings, agent: AgentSettings) -> DissectOptions:
    """Return how a profile's frames are read, and the bounds of [agent.limits]."""
    limits = agent.limits
    ports = profile.ports or (IPIP_PORTS if "ip_to_ip" in profile.capture_filter else "")
    return DissectOptions(
        fragments=profile.reassemble,
        tcp=profile.tcp,
        tls=profile.tls,
        sctp=profile.sctp,
        websocket=profile.websocket,
        join=profile.join_datagrams,
        tunnels=TUNNELS_ALL if profile.tunnels else 0,
        ports=parse_ports(ports),
        fragment_octets=limits.fragments,
        fragment_timeout=int(limits.fragment_timeout * 1e6),
        streams=limits.streams,
        stream_octets=limits.stream_octets,
        stream_idle=int(limits.stream_idle * 1e6),
        stream_gap=int(limits.stream_gap * 1e6),
        message=limits.message,
        tls_octets=agent.tls.memory,
        tls_wait=int(agent.tls.wait * 1e6),
    )
