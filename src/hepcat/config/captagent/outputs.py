"""Where captagent sends to: profiles of transport_hep and output_json as targets of the agent.

In: a profile's parameters. Out: the fields of a `TargetSettings`. What can go wrong: warnings; a problem
where there is no host.
"""

import re
from typing import Any, Final

from pydantic import SecretStr

from hepcat.config.captagent.params import Params
from hepcat.config.values import HEP_PORT, join_host_port

_SCHEMES: Final = {"udp": "udp", "tcp": "tcp", "ssl": "tls", "tls": "tls"}
_HOST: Final = re.compile(r"[A-Za-z0-9_.:\-%]+")


def read_hep(params: Params) -> dict[str, Any]:
    """Return a target for HEP."""
    fields = _common(params, HEP_PORT)
    fields["kind"] = "hep"
    version = params.number("version", 1, 3)
    fields["version"] = 3 if version is None else version
    if params.flag("payload-compression"):
        if fields["version"] == 3:
            fields["compress"] = True
        else:
            params.unmet("payload-compression", f"HEP {fields['version']} cannot say so; version 3 can")
    if "key" in fields and fields["version"] != 3:
        params.unmet("capture-password", f"HEP {fields['version']} has no place for it; version 3 has")
    _bind(fields, params)
    params.rest()
    return fields


def read_json(params: Params) -> dict[str, Any]:
    """Return a target for JSON lines."""
    fields = _common(params, None)
    fields["kind"] = "json"
    if params.flag("payload-send") is False:
        fields["payload"] = False
    if "key" in fields:
        params.inform("capture-password", "is sent as `password` in each line, for all to read unless by ssl")
    for name in ("version", "capture-version"):
        params.inform(name, "JSON lines have one form; docs/agent.md describes it")
    params.rest()
    return fields


def _common(params: Params, default_port: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    host = params.text("capture-host")
    port = params.number("capture-port", 1, 65535)
    if host is None or not _HOST.fullmatch(host.strip("[]")):
        params.problem("capture-host", "is no host to send to" if host else f"{params.owner} has no host")
        host = "missing"
    if port is None and default_port is None:
        params.problem("capture-port", f"{params.owner} has no port to send to")
    proto = (params.text("capture-proto") or "udp").lower()
    scheme = _SCHEMES.get(proto)
    if scheme is None:
        params.problem("capture-proto", f'"{proto}" is not known; there are udp, tcp and ssl')
    if scheme == "tls":
        params.unmet(
            "capture-proto",
            "the target's certificate is checked, which captagent does not do; name its CA with "
            "`ca` in the TOML of `hepcat convert`, or switch it off with verify = false",
        )
    fields["urls"] = (f"{scheme or 'udp'}://{join_host_port(host.strip('[]'), port or default_port or 1)}",)
    number = params.number("capture-id", 0, 0xFFFFFFFF)
    if number is not None:
        fields["node_id"] = number
    password = params.text("capture-password")
    if password is not None:
        fields["key"] = SecretStr(password)
    return fields


def _bind(fields: dict[str, Any], params: Params) -> None:
    """The local address of UDP."""
    host, port = params.text("udp-bind-host"), params.number("udp-bind-port", 1, 65535)
    if host is None and port is None:
        return
    if not fields["urls"][0].startswith("udp:"):
        for name in ("udp-bind-host", "udp-bind-port"):
            params.unmet(name, "is for capture-proto udp")
        return
    host = host or ("::" if "[" in fields["urls"][0] else "0.0.0.0")
    fields["bind"] = host if port is None else join_host_port(host.strip("[]"), port)
