"""Modules whose parameters are settings of the whole agent: protocols, tables, the core of captagent.xml.

In: a profile's parameters. Out: changes to the fields of `AgentSettings`. What can go wrong: warnings for
what has no effect, with the reason.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hepcat.config.captagent.params import Params

Fields = dict[str, Any]


def read_core(params: Params, fields: Fields) -> None:
    """The core block of captagent.xml, but for the paths, which the reader needs before."""
    params.unmet("debug", 'sets nothing; [log] level = "debug" makes the agent say more')
    for name in ("version", "serial"):
        params.inform(name, "says which version the file is; nothing depends on it")
    params.inform("uuid", "is not sent in HEP by either program; node_id and node_name are")
    if params.flag("daemon"):
        params.unmet(
            "daemon", "hepcat stays in the foreground; systemd runs it: packaging/hepcat-agent.service"
        )
    if params.flag("syslog"):
        params.unmet("syslog", "hepcat logs to standard error, which systemd takes into the journal")
    params.unmet("pid_file", "is not written; systemd knows the process")
    params.inform("module_path", "everything is built in")
    params.inform("backup", "nothing changes these files, so nothing is kept")
    params.unmet("chroot", "is not done; the systemd unit shuts the file system off instead")
    node = params.text("node")
    if node is not None:
        fields["node_name"] = node[:255]
    params.inform("license", "there is none to give")
    params.rest(("config_path", "capture_plans_path"))


def read_sip(params: Params, fields: Fields) -> None:
    """protocol_sip: further headers and named expressions."""
    headers = list(fields.get("custom_headers", ()))
    for param in params.all("custom-header"):
        for name in re.split(r"[,;\s]+", param.value):
            if name and name.lower() not in (known.lower() for known in headers):
                headers.append(name)
    if headers:
        fields["custom_headers"] = tuple(headers)
    _regexps(params, fields)
    for name in ("dialog-type", "dialog-timeout"):
        params.inform(name, "no dialogs are kept in the agent: each message is sent by itself")
    params.unmet("ignore", 'has no effect; say it in the plan: if (sip_check("method", "OPTIONS")) drop;')
    params.rest()


def _regexps(params: Params, fields: Fields) -> None:
    """Names and values stand in turn; the nth name goes with the nth value."""
    names, values = params.all("regexp-name"), params.all("regexp-value")
    for param in (*names[len(values) :], *values[len(names) :]):
        other = "regexp-value" if param.name == "regexp-name" else "regexp-name"
        params.warn(param, f"has no {other} beside it; it is passed over")
    for name, value in zip(names, values, strict=False):
        try:
            re.compile(value.value)
        except re.error as error:
            params.warn(value, f'"{value.value}" is no regular expression: {error}; it is passed over')
            continue
        fields.setdefault("regexps", {})[name.value] = value.value


def read_tls(params: Params, fields: Fields) -> None:
    """protocol_tls: a private key."""
    path = params.text("private-key-path")
    if path is not None:
        if not Path(path).is_file():
            params.unmet("private-key-path", f"there is no file {path}: TLS is not decrypted")
        else:
            tls = fields.setdefault("tls", {})
            tls["rsa_keys"] = (*tls.get("rsa_keys", ()), Path(path))
            params.inform("private-key-path", "reads an RSA key exchange alone; [agent.tls] keylog reads all")
    params.inform("flow-timeout", "streams are forgotten after [agent.limits] stream_idle seconds of silence")
    params.rest()


def read_ss7(params: Params, fields: Fields) -> None:
    """protocol_ss7: whether ISUP gets a correlation id."""
    given = params.flag("generate-sid")
    if given is not None:
        fields["isup_correlation"] = given
    params.rest()


def read_hash(params: Params, fields: Fields) -> None:
    """database_hash: how RTCP finds its call. timer-expire is what older versions call rtcp-timeout."""
    media = fields.setdefault("media", {})
    timeout = params.number("rtcp-timeout", 1, 86400)
    older = params.number("timer-expire", 1, 86400)
    if timeout is None:
        timeout = older
    elif older is not None:
        params.inform("timer-expire", "rtcp-timeout holds")
    if timeout is not None:
        media["timeout"] = float(timeout)
    nat = params.flag("nat-mode")
    if nat is not None:
        media["nat"] = nat
    params.inform("timer-timeout", "entries age by themselves; no timer looks for them")
    params.rest()


def read_redis(params: Params, fields: Fields) -> None:
    """database_redis: the table of media addresses, which is within the process here."""
    for name in ("host", "port", "db-num", "password", "user"):
        params.unmet(name, "no Redis is asked: media addresses are kept in the agent, for all its profiles")
    timeout = params.number("rtcp-timeout", 1, 86400)
    if timeout is not None:
        fields.setdefault("media", {}).setdefault("timeout", float(timeout))
    params.rest()


def read_http(params: Params, fields: Fields) -> None:
    """interface_http: another interface stands under [http]."""
    port = params.number("port", 1, 65535)
    params.unmet(
        "port",
        f'nothing listens there; [http] listen = "127.0.0.1:{port or 8909}" gives /metrics and /status',
    )
    for name in ("host", "ip", "worker", "directory", "index", "auth", "realm", "password", "user", "ssl"):
        params.unmet(name, "there is no captagent web interface; [http] has /metrics, /healthz and /status")
    params.rest()


def read_nothing(params: Params, fields: Fields) -> None:
    """Modules whose parameters have no effect in the original either."""
    for name in (
        "dialog-type",
        "dialog-timeout",
        "flow-timeout",
        "timer-timeout",
        "ignore",
        "version",
        "dev",
    ):
        params.inform(name, "has no effect in captagent either")
    params.rest()


#: Modules that set something of the whole agent, or nothing.
SHARED: Final[dict[str, Callable[[Params, Fields], None]]] = {
    "protocol_sip": read_sip,
    "protocol_tls": read_tls,
    "protocol_ss7": read_ss7,
    "protocol_rtcp": read_nothing,
    "protocol_rtcpxr": read_nothing,
    "protocol_diameter": read_nothing,
    "database_hash": read_hash,
    "database_redis": read_redis,
    "interface_http": read_http,
}
#: Modules that are known and cannot be replaced: why.
REFUSED: Final[dict[str, str]] = {
    "socket_raw": "raw sockets see what socket_pcap sees; give socket_pcap a profile for it",
    "socket_pfring": "PF_RING is not used: socket_pcap captures with the kernel's ring",
    "socket_dpdk": "DPDK is not used: socket_pcap captures with the kernel's ring",
    "protocol_tcp": "TCP streams are read by socket_pcap's profiles themselves",
    "protocol_epan": "there is no Wireshark dissector in the agent",
}
