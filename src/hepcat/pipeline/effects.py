"""Settings of profiles and targets that have no effect where they stand.

In: settings. Out: lines for people, one a profile or target. What can go wrong: nothing. A setting at its
default is not told: whether somebody wrote it does not matter then.
"""

from typing import Final

from hepcat.config.agent import AgentSettings, ProfileSettings, TargetSettings

#: What is about interfaces: neither HEP nor SIP nor TZSP that comes to a port has it.
_OF_INTERFACES: Final = (
    *("dev", "filter", "promisc", "workers", "ring_buffer", "snap_len", "timeout", "pass_fragments"),
)
#: What is about frames: TZSP has it too.
_OF_FRAMES: Final = (
    *("capture_filter", "ports", "reassemble", "tcp", "websocket", "tls", "sctp", "tunnels"),
    *("join_datagrams", "ip_replace", "stats_interval"),
)
_STREAMS: Final = frozenset({"tcp", "tls", "http", "https"})
_TLS: Final = frozenset({"tls", "https"})


def effect_warnings(agent: AgentSettings) -> list[str]:
    """Return what is set and has no effect."""
    lines = [f"profile {p.name}: {text}" for p in agent.profiles if p.enable for text in _of_profile(p)]
    lines += [f"target {target.name}: {text}" for target in agent.targets for text in _of_target(target)]
    if agent.shed != AgentSettings.model_fields["shed"].default and not agent.cpu_limit:
        lines.append("shed has no effect without cpu_limit")
    return lines


def _of_profile(profile: ProfileSettings) -> list[str]:
    source = next((name for name in ("hep", "collect", "tzsp") if getattr(profile, name)), "")
    idle: list[str] = []
    if source:
        idle += _OF_INTERFACES
    if source in ("hep", "collect"):
        idle += _OF_FRAMES
    if source == "hep":
        idle.append("hep_type")
    told = _told(profile, idle, f"where {source} is what is received")
    if source != "collect":
        told += _told(profile, ["reply"], "without collect")
    if profile.plan is not None or profile.plan_text is not None:
        told += _told(profile, ["targets"], "beside a plan, which names its targets itself")
    return told


def _of_target(target: TargetSettings) -> list[str]:
    kind, schemes = target.kind, {url.partition(":")[0].lower() for url in target.urls}
    network = kind in ("hep", "json")
    told = []
    if kind != "pcap":
        told += _told(target, ["rotate_octets", "rotate_seconds", "gzip"], f"for kind {kind}")
    else:
        told += _told(target, ["node_id"], "for kind pcap")
    if kind != "json":
        told += _told(target, ["payload"], f"for kind {kind}")
    if kind != "hep":
        told += _told(target, ["version", "compress"], f"for kind {kind}")
    elif target.version < 3:
        told += _told(target, ["key", "key_file", "key_env", "compress"], f"in HEP {target.version}")
    if not network:
        idle = ["urls", "key", "key_file", "key_env", "spool"]
        return told + _told(target, idle, f"for kind {kind}")
    told += _told(target, ["path"], f"for kind {kind}")
    if len(target.urls) < 2:
        told += _told(target, ["mode"], "with one URL")
    if "udp" not in schemes:
        told += _told(target, ["bind", "pairs"], "but over UDP")
    if not schemes & _TLS:
        told += _told(target, ["ca", "certificate", "private_key", "verify"], "without TLS")
    elif target.certificate is None:
        told += _told(target, ["private_key"], "without certificate")
    if not schemes & _STREAMS:
        words = "over UDP, which does not tell what arrived; use tcp:// or tls://"
        told += _told(target, ["spool"], words) + _told(target, ["memory"], "over UDP: nothing waits")
    if target.spool is None:
        told += _told(target, ["spool_limit"], "without spool")
    return told


def _told(section: ProfileSettings | TargetSettings, names: list[str], where: str) -> list[str]:
    """Say of those that are not as they are by default that they have no effect, in one line."""
    fields = type(section).model_fields
    found = [name for name in names if getattr(section, name) != fields[name].default]
    if not found:
        return []
    return [f"{', '.join(found)} {'has' if len(found) == 1 else 'have'} no effect {where}"]
