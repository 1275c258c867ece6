"""Every setting has a description, a line in the documentation, and a variable that works."""

import re
from dataclasses import asdict

import pytest

from hepcat.config.agent import ProfileSettings, TargetSettings
from hepcat.config.databases import DatabaseSettings
from hepcat.config.loader import Setting, load_settings, walk_settings
from hepcat.config.reference import settings_reference
from hepcat.config.settings import HepKey
from hepcat.pipeline.counters import Counters
from hepcat.pipeline.metrics import HepcatCollector
from hepcat.pipeline.server import LIVE, LIVE_DATABASE, LIVE_STORE, changed_settings
from hepcat.pipeline.stores import StoreFan
from hepcat.stores.counts import StoreCounts
from tests.support import ROOT

SETTINGS = list(walk_settings())
PAGE = (ROOT / "docs" / "configuration.md").read_text()
#: A value other than the default, for settings whose text cannot be changed by a number.
EXAMPLES = {
    "data": "/lake",
    "hep.listen": "udp://127.0.0.1:9099, tcp://[::1]:9099",
    "http.listen": "127.0.0.1:9080",
    "web.public_url": "https://sip.example.org",
    "web.trusted_proxies": "192.0.2.1, 10.0.0.0/8",
    "web.oidc.issuer": "https://login.example.org",
    "aliases": "192.0.2.1=sbc",
    "log.level": "debug",
    "log.format": "json",
    "lake.query_memory": "1GB",
    "lake.compact": "false",
    "http.public": "true",
    "hep.receive_buffer": "1MiB",
    "queue.memory": "64MiB",
    "lake.query_threads": "1",
    "lake.retention_days": "30",
    "agent.shed": "media",
    "stores": "sipcapture",
    "sipcapture.db_url": "sqlite:///calls.db",
    "sipcapture.capture_mode": "two=>db_url=sqlite:///two.db",
    "sipcapture.mt_mode": "hash",
    "sipcapture.hash_source": "to_user",
    "sipcapture.raw_moni_capture_on": "true",
    "sipcapture.raw_socket_listen": "10.0.0.1:5060-5090",
}
#: What must be there for a setting to mean something: [sipcapture] as a whole, a port to look at, a database.
GIVEN = {"HEPCAT_SIPCAPTURE_DB_INSERT_MODE": "1"}
GIVEN_TOO = {
    "stores": {"HEPCAT_SIPCAPTURE_DB_URL": "sqlite:///calls.db"},
    "web.certificate": {"HEPCAT_WEB_CERTIFICATE": "a.pem", "HEPCAT_WEB_KEY": "a.key"},
    "web.key": {"HEPCAT_WEB_CERTIFICATE": "a.pem", "HEPCAT_WEB_KEY": "a.key"},
    "sipcapture.raw_moni_capture_on": {"HEPCAT_SIPCAPTURE_RAW_SOCKET_LISTEN": "10.0.0.1:5060"},
}
#: What else a setting of [sipcapture] stands for.
MEANS = {
    "sipcapture.db_url": ["databases.sipcapture", "stores"],
    "sipcapture.capture_mode": ["databases.two", "stores"],
    "sipcapture.callid_aleg_header": ["callid_aleg_header"],
}


def example(setting: Setting) -> str:
    """Return a text for the setting's variable that changes it."""
    if setting.name in EXAMPLES:
        return EXAMPLES[setting.name]
    default = setting.field.default
    if isinstance(default, bool):
        return "false" if default else "true"
    if isinstance(default, float):
        return str(default + 1)
    if isinstance(default, int):
        return str(default - 1 if default > 1000 else default + 1)
    return str(2**24) if "int" in str(setting.field.annotation) else "X-Example"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_each_setting_is_described(setting: Setting) -> None:
    description = setting.field.description or ""
    assert description.endswith("."), "no description, or no sentence"
    assert f"| `{setting.path[-1]}`" in PAGE


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.variable], ids=lambda s: s.name)
def test_each_setting_can_be_changed_by_its_variable(setting: Setting) -> None:
    assert setting.variable is not None
    given = GIVEN_TOO.get(setting.name, {})
    if setting.path[0] in ("sipcapture", "stores") and setting.variable not in GIVEN:
        given = GIVEN | given
    if setting.path[:2] == ("web", "oidc"):
        needed = {"ISSUER": "https://a.example.org", "CLIENT_ID": "hepcat", "ADMINS": "operators"}
        given = {f"HEPCAT_WEB_OIDC_{name}": value for name, value in needed.items()}
    if setting.variable in GIVEN:
        given = {"HEPCAT_SIPCAPTURE_CAPTURE_ON": "1"}
    before = load_settings(None, {}, given)
    after = load_settings(None, {}, {**given, setting.variable: example(setting)})
    assert changed_settings(before, after) == sorted([setting.name, *MEANS.get(setting.name, [])])


def test_variables_are_unique() -> None:
    variables = [s.variable for s in SETTINGS if s.variable]
    assert len(set(variables)) == len(variables)
    arrays = (HepKey, ProfileSettings, TargetSettings, DatabaseSettings)
    assert {s.model for s in SETTINGS if not s.variable} == set(arrays)


def test_the_page_is_up_to_date() -> None:
    block = re.search(r"<!-- generated: settings -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert block, "docs/configuration.md has lost its generated block"
    assert block[1] == settings_reference(), "run `make docs`"


def test_what_reloads_is_documented_and_exists() -> None:
    names = {s.name for s in SETTINGS} | {".".join(s.path[:-1]) for s in SETTINGS}
    assert set(LIVE) | set(LIVE_STORE) <= names
    for name in (*LIVE, *LIVE_STORE):
        if name not in ("hep.half_message_timeout", "hep.idle_timeout"):  # "and the time-outs"
            assert f"`{name}`" in PAGE
    assert set(LIVE_DATABASE) <= DatabaseSettings.model_fields.keys()
    for name in LIVE_DATABASE:
        assert f"`{name}`" in PAGE.partition("A broken file changes nothing")[0], name


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "server.md").read_text()
    fan = StoreFan(("lake", "db"), 1)
    numbers = fan.stats() | {"db": fan.stats()["db"] | {"database": asdict(StoreCounts())}}
    numbers["db"]["database"]["dropped"] = {}
    collector = HepcatCollector(Counters(fan).snapshot, lambda: True, dict, stores=lambda: numbers)
    for family in collector.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        assert name in page, f"{name} is missing in docs/server.md"
        assert family.documentation
