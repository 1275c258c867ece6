"""What captures: profiles of socket_pcap, socket_collector and socket_tzsp as profiles of the agent.

In: a profile's parameters. Out: the fields of a `ProfileSettings`. What can go wrong: warnings for what is
done otherwise, problems for a plan that is missing or a socket that cannot be opened so.

Limits keep the user's words (snap-len, ring-buffer, promisc). Switches that made the original lose messages
to save work (reasm, tcpdefrag, websocket-detection, erspan, the passing of fragments) do not switch anything
off: fragments, streams and tunnels are read all the same, and the report says so.
"""

import ipaddress
from pathlib import Path
from typing import Any, Final

from hepcat.config.captagent.params import Params
from hepcat.config.report import Report
from hepcat.config.values import join_host_port

#: Switched off in captagent, and done all the same: parameter, and why.
_DONE_ANYWAY: Final = {
    "reasm": "fragments are put together all the same; captagent would send them cut off",
    "ipv4fragments": "fragments pass the filter all the same; without them large messages are lost",
    "ipv6fragments": "fragments pass the filter all the same; without them large messages are lost",
    "tcpdefrag": "messages are read out of TCP streams all the same, however they are segmented",
    "websocket-detection": "SIP in WebSocket is read all the same, beside SIP over TCP",
    "erspan": "GRE, ERSPAN and other tunnels that pass the filter are opened all the same",
}
_CAPTURE_FILTERS: Final = ("sip", "rtcp", "rtp", "ip_to_ip")
#: proto-type by name: HEP protocol types (chunk 0x000b).
_TYPES: Final = {"sip": 1, "xmpp": 2, "sdp": 3, "rtp": 4, "rtcp": 5, "mgcp": 6, "megaco": 7, "diameter": 56}


class Plans:
    """Finds capture plans. folders: where plan names are looked up; the first is the settings' `plans`."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.folders = tuple(dict.fromkeys(folders))

    def find(self, name: str) -> Path | None:
        """Return the plan's path, relative where it is in the first folder; None where no folder has it.

        A path that was copied along with its folder is found by its name alone.
        """
        names = dict.fromkeys((name, Path(name).name))
        places = [folder / one for one in names for folder in self.folders]
        found = next((place for place in places if place.is_file()), None)
        if found is not None and found.is_relative_to(self.folders[0]):
            return found.relative_to(self.folders[0])
        return found


def read_pcap(params: Params, plans: Plans, report: Report) -> dict[str, Any]:
    """Return the profile of an interface."""
    fields: dict[str, Any] = {"promisc": bool(params.flag("promisc"))}
    dev = params.text("dev")
    if dev is None:
        report.warn(params.file, params.line, params.owner, "has no dev; all interfaces are captured on")
    fields["dev"] = tuple(part.strip() for part in (dev or "any").split(",") if part.strip())
    ring = params.number("ring-buffer", 1, 2048)  # MB of the original are MiB
    if ring is not None:
        fields["ring_buffer"] = ring << 20
    snap = params.number("snap-len", 64, 262144)
    if snap is not None:
        fields["snap_len"] = snap
        if snap < 65535:
            params.inform("snap-len", f"packets are cut at {snap} octets, as asked for; without it, none is")
    timeout = params.number("timeout", 1, 10000)
    if timeout is not None:
        fields["timeout"] = timeout
    for name, why in _DONE_ANYWAY.items():
        if params.flag(name) is False:
            params.inform(name, why)
    _filters(fields, params)
    _statistics(fields, params)
    replace = params.text("ip-replace")
    if replace is not None:
        fields["ip_replace"] = replace
    _type(fields, params, "proto-type")
    if params.flag("full-packet"):
        params.unmet("full-packet", "the message itself is sent, and its addresses in HEP; headers are not")
    _plan(fields, params, plans, report)
    if params.flag("debug"):
        params.unmet("debug", 'has no effect; [log] level = "debug" does')
    params.rest()
    return fields


def read_collector(params: Params, plans: Plans, report: Report) -> dict[str, Any]:
    """Return the profile of a socket that SIP user agents send their reports to."""
    fields: dict[str, Any] = {"collect": _address(params, "0.0.0.0", None)}
    proto = params.text("proto") or "udp"
    if proto.lower() != "udp":
        params.unmet("proto", f'"{proto}": reports are received over UDP only')
    _type(fields, params, "protocol-type")
    if params.flag("reply"):
        fields["reply"] = True
    for name in ("method-publish", "short-report"):
        if params.flag(name) is False:
            params.unmet(name, "PUBLISH and reports of every kind are received; the plan decides")
    _plan(fields, params, plans, report)
    params.rest()
    return fields


def read_tzsp(params: Params, plans: Plans, report: Report) -> dict[str, Any]:
    """Return the profile of a socket that receives TZSP."""
    fields: dict[str, Any] = {"tzsp": _address(params, "127.0.0.1", 37008)}
    proto = params.text("proto") or "udp"
    if proto.lower() != "udp":
        params.unmet("proto", f'"{proto}": TZSP is UDP')
    _type(fields, params, "protocol-type")
    _plan(fields, params, plans, report)
    params.rest()
    return fields


def _filters(fields: dict[str, Any], params: Params) -> None:
    text = params.text("filter")
    if text is not None:
        fields["filter"] = text
    param = params.last("capture-filter")
    if param is None or not param.value:
        return
    wanted = [part.strip().lower() for part in param.value.replace(";", ",").split(",") if part.strip()]
    for name in wanted:
        if name not in _CAPTURE_FILTERS:
            params.warn(param, f'"{name}" is not known; there are {", ".join(_CAPTURE_FILTERS)}')
    fields["capture_filter"] = tuple(dict.fromkeys(name for name in wanted if name in _CAPTURE_FILTERS))


def _statistics(fields: dict[str, Any], params: Params) -> None:
    enabled = params.flag("stats-enable")
    interval = params.number("stats-interval", 0, 86400)
    if enabled is False:
        fields["stats_interval"] = 0.0
    elif interval is not None:
        fields["stats_interval"] = float(interval)


def _type(fields: dict[str, Any], params: Params, name: str) -> None:
    """The HEP protocol type, a number or a name. SIP is told by its octets, and nothing else is called so."""
    param = params.last(name)
    if param is None or not param.value:
        return
    number = _TYPES.get(param.value.lower())
    if number is None:
        number = params.number(name, 0, 255)
    if number is not None and number != _TYPES["sip"]:
        fields["hep_type"] = number


def _plan(fields: dict[str, Any], params: Params, plans: Plans, report: Report) -> None:
    name = params.text("capture-plan")
    if name is None:
        message = "has no capture-plan, and captagent sends nothing; hepcat's own plan is taken"
        report.warn(params.file, params.line, params.owner, message)
        return
    path = plans.find(name)
    if path is None:
        folders = ", ".join(map(str, plans.folders))
        params.problem("capture-plan", f"there is no {name} in {folders}")
        return
    fields["plan"] = path


def _address(params: Params, host: str, port: int | None) -> str:
    """Return ADDRESS:PORT of a socket to open."""
    given = params.text("host") or host
    number = params.number("port", 1, 65535)
    try:
        address = ipaddress.ip_address(given.strip("[]"))
    except ValueError:
        params.problem("host", f'"{given}" is not an IP address of this machine')
        address = ipaddress.ip_address(host)
    if number is None:
        if port is None:
            params.problem("port", f"{params.owner} has no port to receive on")
        number = port or 1
    return join_host_port(str(address), number)
