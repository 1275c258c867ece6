"""Every parameter of captagent: its effect on a setting, or what is told about it, with file and line."""

from pathlib import Path
from typing import Any

import pytest

from hepcat.config.captagent.reader import read_captagent
from tests.config.captagent.support import HEP, PCAP, Values, make

NEEDED: dict[str, Values] = {
    "socket_pcap": PCAP,
    "transport_hep": HEP,
    "output_json": {"capture-host": "127.0.0.1", "capture-port": "9061"},
    "socket_collector": {"port": "5005", "capture-plan": "sip.cfg"},
    "socket_tzsp": {"capture-plan": "sip.cfg"},
}
KINDS = {"socket_pcap": "profiles", "socket_collector": "profiles", "socket_tzsp": "profiles"}
KINDS |= {"transport_hep": "targets", "output_json": "targets"}

#: module, parameter, value, the field that it sets (of its profile or target, else of the agent), its value.
EFFECTS: list[tuple[str, str, str, str, Any]] = [
    ("core", "node", "edge", "node_name", "edge"),
    ("socket_pcap", "dev", "eth0", "dev", ("eth0",)),
    ("socket_pcap", "dev", "eth0, eth1", "dev", ("eth0", "eth1")),
    ("socket_pcap", "promisc", "true", "promisc", True),
    ("socket_pcap", "ring-buffer", "20", "ring_buffer", 20 << 20),
    ("socket_pcap", "snap-len", "3200", "snap_len", 3200),
    ("socket_pcap", "timeout", "100", "timeout", 100),
    ("socket_pcap", "reasm", "true", "reassemble", True),
    ("socket_pcap", "ipv4fragments", "true", "pass_fragments", True),
    ("socket_pcap", "ipv6fragments", "true", "pass_fragments", True),
    ("socket_pcap", "tcpdefrag", "true", "tcp", True),
    ("socket_pcap", "websocket-detection", "true", "websocket", True),
    ("socket_pcap", "erspan", "true", "tunnels", True),
    ("socket_pcap", "filter", "proto GRE and  len > 50", "filter", "proto GRE and len > 50"),
    ("socket_pcap", "capture-filter", "rtcp", "capture_filter", ("rtcp",)),
    ("socket_pcap", "capture-filter", "ip_to_ip", "capture_filter", ("ip_to_ip",)),
    ("socket_pcap", "capture-filter", "rtp", "capture_filter", ("rtp",)),
    ("socket_pcap", "capture-plan", "sip.cfg", "plan", Path("sip.cfg")),
    ("socket_pcap", "ip-replace", "10.0.0.1-192.0.2.1", "ip_replace", "10.0.0.1-192.0.2.1"),
    ("socket_pcap", "stats-enable", "false", "stats_interval", 0.0),
    ("socket_pcap", "stats-interval", "60", "stats_interval", 60.0),
    ("socket_pcap", "proto-type", "99", "hep_type", 99),
    ("socket_pcap", "proto-type", "rtcp", "hep_type", 5),
    ("transport_hep", "version", "2", "version", 2),
    ("transport_hep", "capture-host", "hep.example.org", "urls", ("udp://hep.example.org:9060",)),
    ("transport_hep", "capture-host", "2001:db8::1", "urls", ("udp://[2001:db8::1]:9060",)),
    ("transport_hep", "capture-port", "9999", "urls", ("udp://127.0.0.1:9999",)),
    ("transport_hep", "capture-proto", "tcp", "urls", ("tcp://127.0.0.1:9060",)),
    ("transport_hep", "capture-proto", "ssl", "urls", ("tls://127.0.0.1:9060",)),
    ("transport_hep", "capture-id", "77", "node_id", 77),
    ("transport_hep", "payload-compression", "true", "compress", True),
    ("transport_hep", "udp-bind-host", "127.0.0.2", "bind", "127.0.0.2"),
    ("transport_hep", "udp-bind-port", "5000", "bind", "0.0.0.0:5000"),
    ("output_json", "capture-host", "192.0.2.1", "urls", ("udp://192.0.2.1:9061",)),
    ("output_json", "capture-proto", "tcp", "urls", ("tcp://127.0.0.1:9061",)),
    ("output_json", "capture-port", "1234", "urls", ("udp://127.0.0.1:1234",)),
    ("output_json", "capture-id", "5", "node_id", 5),
    ("output_json", "payload-send", "false", "payload", False),
    ("socket_collector", "host", "127.0.0.1", "collect", "127.0.0.1:5005"),
    ("socket_collector", "port", "5006", "collect", "0.0.0.0:5006"),
    ("socket_collector", "protocol-type", "99", "hep_type", 99),
    ("socket_collector", "reply", "true", "reply", True),
    ("socket_collector", "capture-plan", "sip.cfg", "plan", Path("sip.cfg")),
    ("socket_tzsp", "host", "0.0.0.0", "tzsp", "0.0.0.0:37008"),
    ("socket_tzsp", "port", "37009", "tzsp", "127.0.0.1:37009"),
    ("socket_tzsp", "protocol-type", "1", "hep_type", None),
    ("socket_tzsp", "protocol-type", "53", "hep_type", 53),
    ("socket_tzsp", "capture-plan", "sip.cfg", "plan", Path("sip.cfg")),
    ("protocol_sip", "custom-header", "X-One; X-Two", "custom_headers", ("X-One", "X-Two")),
    ("protocol_ss7", "generate-sid", "false", "isup_correlation", False),
    ("database_hash", "rtcp-timeout", "30", "media.timeout", 30.0),
    ("database_hash", "timer-expire", "40", "media.timeout", 40.0),
    ("database_hash", "nat-mode", "false", "media.nat", False),
    ("database_redis", "rtcp-timeout", "50", "media.timeout", 50.0),
]

#: module, parameter, value, what is told.
TOLD: list[tuple[str, str, str, str]] = [
    ("core", "debug", "3", "[log] level"),
    ("core", "version", "2", "nothing depends on it"),
    ("core", "serial", "2", "nothing depends on it"),
    ("core", "uuid", "a-b", "is not sent"),
    ("core", "daemon", "true", "foreground"),
    ("core", "syslog", "true", "journal"),
    ("core", "pid_file", "/run/x", "is not written"),
    ("core", "module_path", "/lib/x", "built in"),
    ("core", "config_path", "/nowhere/at/all", "is read instead"),
    ("core", "capture_plans_path", "/nowhere/at/all", "is read instead"),
    ("core", "backup", "/x", "nothing is kept"),
    ("core", "chroot", "/x", "is not done"),
    ("core", "license", "x", "there is none"),
    ("socket_pcap", "reasm", "false", "put together all the same"),
    ("socket_pcap", "ipv4fragments", "false", "pass the filter all the same"),
    ("socket_pcap", "ipv6fragments", "false", "pass the filter all the same"),
    ("socket_pcap", "tcpdefrag", "false", "all the same"),
    ("socket_pcap", "websocket-detection", "false", "all the same"),
    ("socket_pcap", "erspan", "false", "all the same"),
    ("socket_pcap", "snap-len", "256", "are cut at 256 octets"),
    ("socket_pcap", "snap-len", "300000", "262144 is taken"),
    ("socket_pcap", "ring-buffer", "lots", "not a whole number"),
    ("socket_pcap", "capture-filter", "dns", "is not known"),
    ("socket_pcap", "promisc", "perhaps", "neither true nor false"),
    ("socket_pcap", "debug", "true", "[log] level"),
    ("socket_pcap", "full-packet", "true", "headers are not"),
    ("socket_pcap", "proto-type", "x", "not a whole number"),
    ("socket_pcap", "capture-plans", "x", 'did you mean "capture-plan"?'),
    ("transport_hep", "capture-proto", "ssl", "certificate is checked"),
    ("transport_hep", "version", "7", "3 is taken"),
    ("output_json", "capture-password", "x", "`password` in each line"),
    ("output_json", "version", "1", "one form"),
    ("output_json", "capture-proto", "ssl", "certificate is checked"),
    ("socket_collector", "proto", "tcp", "over UDP only"),
    ("socket_collector", "method-publish", "false", "the plan decides"),
    ("socket_collector", "short-report", "false", "the plan decides"),
    ("socket_tzsp", "proto", "tcp", "is UDP"),
    ("protocol_sip", "dialog-type", "2", "no dialogs"),
    ("protocol_sip", "dialog-timeout", "180", "no dialogs"),
    ("protocol_sip", "ignore", "OPTIONS", "in the plan"),
    ("protocol_sip", "regexp-name", "lonely", "has no regexp-value"),
    ("protocol_rtcp", "dialog-type", "2", "no effect in captagent either"),
    ("protocol_rtcpxr", "dialog-timeout", "2", "no effect in captagent either"),
    ("protocol_diameter", "dialog-type", "2", "no effect in captagent either"),
    ("protocol_tls", "private-key-path", "/no/such/key", "there is no file"),
    ("protocol_tls", "flow-timeout", "180", "stream_idle"),
    ("database_hash", "timer-timeout", "10", "age by themselves"),
    ("database_redis", "host", "127.0.0.1", "no Redis"),
    ("database_redis", "port", "6379", "no Redis"),
    ("database_redis", "db-num", "0", "no Redis"),
    ("database_redis", "password", "x", "no Redis"),
    ("database_redis", "user", "x", "no Redis"),
    ("interface_http", "port", "8909", "127.0.0.1:8909"),
    ("interface_http", "worker", "5", "no captagent web interface"),
    ("interface_http", "directory", "/x", "no captagent web interface"),
    ("interface_http", "auth", "true", "no captagent web interface"),
    ("interface_http", "realm", "x", "no captagent web interface"),
]


def written(folder: Path, module: str, name: str, value: str) -> tuple[Path, Path]:
    """Write files in which a parameter is set; return captagent.xml, and the file that it stands in."""
    if module == "core":
        path = make(folder, core={name: value})
        return path, path
    values = {key: text for key, text in NEEDED.get(module, {}).items() if key != name}
    path = make(folder, {module: {"one": {**values, name: value}}})
    return path, folder / f"{module}.xml"


@pytest.mark.parametrize(("module", "name", "value", "field", "wanted"), EFFECTS)
def test_effect(tmp_path: Path, module: str, name: str, value: str, field: str, wanted: Any) -> None:
    path, _ = written(tmp_path, module, name, value)
    found: Any = read_captagent(path).settings
    if module in KINDS:
        found = next(one for one in getattr(found, KINDS[module]) if one.name == "one")
    for part in field.split("."):
        found = getattr(found, part)
    assert found == wanted


@pytest.mark.parametrize(("module", "name", "value", "words"), TOLD)
def test_told(tmp_path: Path, module: str, name: str, value: str, words: str) -> None:
    path, file = written(tmp_path, module, name, value)
    told = [w for w in read_captagent(path).warnings if w.parameter == name and w.file == file]
    assert len(told) == 1
    assert words in told[0].message
    line = file.read_text().splitlines()[told[0].line - 1]
    assert f'name="{name}"' in line
    assert str(told[0]).startswith(f"{file}:{told[0].line}: {name}: ")


def test_every_parameter_of_the_original_stands_above() -> None:
    """The list of captagent's parameters, module by module, is wholly covered."""
    every = {
        "core": "debug version serial uuid daemon syslog pid_file module_path config_path capture_plans_path "
        "backup chroot node license",
        "socket_pcap": "dev promisc ring-buffer snap-len timeout reasm ipv4fragments ipv6fragments tcpdefrag "
        "websocket-detection erspan filter capture-filter capture-plan ip-replace stats-enable "
        "stats-interval debug full-packet proto-type",
        "transport_hep": "version capture-host capture-port capture-id capture-proto payload-compression "
        "udp-bind-host udp-bind-port",
        "output_json": "capture-host capture-port capture-proto capture-id payload-send capture-password "
        "version",
        "protocol_sip": "custom-header regexp-name dialog-type dialog-timeout ignore",
        "protocol_ss7": "generate-sid",
        "protocol_tls": "private-key-path flow-timeout",
        "database_hash": "timer-timeout rtcp-timeout nat-mode timer-expire",
        "database_redis": "host port db-num password user rtcp-timeout",
        "socket_collector": "host port reply proto protocol-type capture-plan method-publish short-report",
        "socket_tzsp": "host port protocol-type capture-plan",
        "interface_http": "port worker directory auth realm",
    }
    covered = {(module, name) for module, name, *_ in [*EFFECTS, *TOLD]}
    missing = [(m, name) for m, names in every.items() for name in names.split() if (m, name) not in covered]
    assert not missing


def test_key_and_regexps(tmp_path: Path) -> None:
    """Those that need a look of their own: a secret, and pairs."""
    modules = {
        "transport_hep": {"hepsocket": {**HEP, "capture-password": "myhep"}},
        "protocol_sip": {"sip": {"regexp-name": "one", "regexp-value": "^a+$"}},
    }
    settings = read_captagent(make(tmp_path, modules)).settings
    key = settings.targets[0].key
    assert key is not None
    assert key.get_secret_value() == "myhep"
    assert "myhep" not in repr(settings)
    assert settings.regexps == {"one": "^a+$"}


def test_the_password_of_json(tmp_path: Path) -> None:
    modules = {
        "transport_hep": {"hepsocket": HEP},
        "output_json": {"json": {**HEP, "capture-password": "myjson"}},
    }
    targets = {target.kind: target for target in read_captagent(make(tmp_path, modules)).settings.targets}
    key = targets["json"].key
    assert key is not None
    assert key.get_secret_value() == "myjson"


def test_bad_regexp(tmp_path: Path) -> None:
    converted = read_captagent(
        make(tmp_path, {"protocol_sip": {"sip": {"regexp-name": "one", "regexp-value": "(("}}})
    )
    assert converted.settings.regexps == {}
    assert any("is no regular expression" in w.message for w in converted.warnings)


def test_version_1_and_2_cannot_say_everything(tmp_path: Path) -> None:
    values = {**HEP, "version": "1", "capture-password": "secret-key", "payload-compression": "true"}
    converted = read_captagent(make(tmp_path, {"transport_hep": {"hepsocket": values}}))
    assert not converted.settings.targets[0].compress
    told = {w.parameter: str(w) for w in converted.warnings}
    assert "version 3" in told["payload-compression"]
    assert "version 3" in told["capture-password"]
    assert not any("secret-key" in text for text in told.values())


def test_key_file_that_is_there(tmp_path: Path) -> None:
    key = tmp_path / "server.key"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    path = make(tmp_path, {"protocol_tls": {"tls": {"private-key-path": str(key)}}})
    assert read_captagent(path).settings.tls.rsa_keys == (key,)
