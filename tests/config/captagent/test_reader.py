"""captagent's files as a whole: the shipped ones, what is left out, what cannot be used, and TOML of them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcat.config.agent import AgentSettings, ProfileSettings, TargetSettings
from hepcat.config.captagent.reader import read_captagent
from hepcat.config.captagent.xml import parse_xml
from hepcat.config.loader import load_settings
from hepcat.config.report import Warning
from hepcat.config.toml import write_toml
from hepcat.errors import HepcatError
from tests.config.captagent.support import ETC, HEP, PCAP, make, module_text


def test_shipped_files() -> None:
    """Equivalents of the original's own files: what they enable runs, all the rest is told."""
    converted = read_captagent(ETC)
    settings = converted.settings
    names = [profile.name for profile in settings.profiles]
    assert names == ["socketspcap_sip", "socketspcap_rtcp", "socket_collector_rtcpxr", "socket_tzsp"]
    sip, rtcp, reports, tzsp = settings.profiles
    assert (sip.dev, sip.filter, sip.promisc, sip.reassemble) == (("any",), "port 5060", True, True)
    assert (rtcp.capture_filter, rtcp.snap_len) == (("rtcp",), 256)
    assert rtcp.filter == "portrange 8000-30000 and len >=64"
    assert (reports.collect, reports.hep_type, reports.reply) == ("127.0.0.1:5005", 99, True)
    assert tzsp.tzsp == "127.0.0.1:37008"
    assert settings.node_id == 2001
    assert [target.urls for target in settings.targets] == [
        ("udp://127.0.0.1:9060",),
        ("tcp://127.0.0.1:9061",),
    ]
    left_out = {warning.parameter for warning in converted.warnings if "left out" in warning.message}
    assert left_out >= {"socketspcap_tls", "socketspcap_sctp", "socketspcap_diameter", "interface_http"}
    assert settings.plans == ETC / "plans"
    assert all(profile.plan and (ETC / "plans" / profile.plan).is_file() for profile in settings.profiles)


def test_every_shipped_profile_enabled(tmp_path: Path) -> None:
    for path in ETC.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(ETC)
            target.parent.mkdir(exist_ok=True)
            text = path.read_text().replace('enable="false"', 'enable="true"')
            target.write_text(text)
    settings = read_captagent(tmp_path).settings
    assert len(settings.profiles) == 7
    assert {str(profile.plan) for profile in settings.profiles} == {
        f"{name}_capture_plan.cfg" for name in ("sip", "rtcp", "tls", "isup", "diameter", "rtcpxr", "tzsp")
    }


@pytest.mark.parametrize("plan", sorted((ETC / "plans").glob("*.cfg")), ids=lambda path: path.stem)
def test_shipped_plans_compile(plan: Path) -> None:
    from hepcat.plans.compiler import compile_plan

    compile_plan(plan.read_text(), str(plan), ["hepsocket", "jsonsocket"], {})


def test_round_trip_of_the_shipped_files(tmp_path: Path) -> None:
    converted = read_captagent(ETC)
    file = tmp_path / "agent.toml"
    file.write_text(write_toml({"agent": converted.settings}, converted.warnings, str(ETC)))
    assert load_settings(file, environ={}).agent == converted.settings
    for warning in converted.warnings:
        assert f"#   {warning}" in file.read_text()


NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=10)
TEXTS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)


@given(
    names=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    text=TEXTS,
    regexps=st.dictionaries(TEXTS, TEXTS),
)
def test_round_trip(names: list[str], text: str, regexps: dict[str, str]) -> None:
    """Whatever stands in a value, quotes and line ends and controls too."""
    settings = AgentSettings(
        regexps=regexps,
        profiles=tuple(ProfileSettings(name=name, filter=text, plan_text=text) for name in names),
        targets=tuple(TargetSettings(name=name, urls=("udp://h:1",), key=text) for name in names),  # type: ignore[arg-type]
        limits={"stream_gap": 0.25},  # type: ignore[arg-type]
    )
    warning = Warning(Path("a b"), 1, "x\ny = 1", text)
    import tomllib

    document = tomllib.loads(write_toml({"agent": settings}, [warning], text))
    assert AgentSettings.model_validate(document.get("agent", {})) == settings


def test_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hepcat", "convert", "captagent"]
    done = subprocess.run([*command, str(ETC / "captagent.xml")], capture_output=True, text=True, check=True)
    assert "things are done otherwise" in done.stderr
    file = tmp_path / "agent.toml"
    file.write_text(done.stdout)
    assert load_settings(file, environ={}).agent == read_captagent(ETC).settings
    done = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no" in done.stderr
    assert "Traceback" not in done.stderr


def test_paths_that_are_there_are_used(tmp_path: Path) -> None:
    """config_path and capture_plans_path, absolute and from the file's own folder."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "plans").mkdir()
    make(tmp_path / "conf")
    (tmp_path / "conf" / "sip.cfg").rename(tmp_path / "conf" / "plans" / "sip.cfg")
    text = (tmp_path / "conf" / "captagent.xml").read_text()
    for config, plans in (("conf", "conf/plans"), (str(tmp_path / "conf"), str(tmp_path / "conf" / "plans"))):
        core = (
            f'<param name="config_path" value="{config}"/><param name="capture_plans_path" value="{plans}"/>'
        )
        path = tmp_path / "captagent.xml"
        path.write_text(text.replace("<settings>", f"<settings>{core}", 1))
        converted = read_captagent(path)
        assert converted.settings.plans == tmp_path / "conf" / "plans"
        assert converted.settings.profiles[0].plan == Path("sip.cfg")
        assert not any("folder" in warning.message for warning in converted.warnings)


def test_module_without_its_file(tmp_path: Path) -> None:
    path = make(tmp_path)
    (tmp_path / "transport_hep.xml").unlink()
    with pytest.raises(HepcatError, match=r"captagent\.xml:\d+: transport_hep: there is no "):
        read_captagent(path)


def test_protocol_without_its_file(tmp_path: Path) -> None:
    path = make(tmp_path, {"protocol_sip": {}})
    (tmp_path / "protocol_sip.xml").unlink()
    assert any("defaults hold" in warning.message for warning in read_captagent(path).warnings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("socket_pcapp", 'did you mean "socket_pcap"'),
        ("protocol_tcp", "read by socket_pcap"),
        ("socket_pfring", "PF_RING is not used"),
    ],
)
def test_modules_that_cannot_be_loaded(tmp_path: Path, name: str, words: str) -> None:
    converted = read_captagent(make(tmp_path, {name: {}}))
    told = [warning for warning in converted.warnings if warning.parameter == name]
    assert words in told[0].message
    assert told[0].level == "warning"


def test_older_names_of_modules(tmp_path: Path) -> None:
    modules = {
        "socket_rtcpxr": {"reports": {"host": "127.0.0.1", "port": "5005", "capture-plan": "sip.cfg"}},
        "transport_json": {"json": {"capture-host": "127.0.0.1", "capture-port": "9061"}},
    }
    settings = read_captagent(make(tmp_path, modules)).settings
    assert [profile.name for profile in settings.profiles] == ["sip", "reports"]
    assert [target.kind for target in settings.targets] == ["hep", "json"]


def test_problems_come_all_at_once(tmp_path: Path) -> None:
    modules = {
        "socket_pcap": {"one": {**PCAP, "capture-plan": "none.cfg"}},
        "transport_hep": {"two": {"capture-port": "9060"}, "three": {**HEP, "capture-proto": "sctp"}},
    }
    with pytest.raises(HepcatError) as caught:
        read_captagent(make(tmp_path, modules))
    text = str(caught.value)
    assert "socket_pcap.xml:7: capture-plan: there is no none.cfg" in text
    assert "transport_hep.xml:4: two: two has no host" in text
    assert 'capture-proto: "sctp" is not known' in text


def test_nothing_to_capture(tmp_path: Path) -> None:
    path = make(tmp_path)
    (tmp_path / "socket_pcap.xml").write_text(module_text("socket_pcap", {"sip": PCAP}, enable="false"))
    with pytest.raises(HepcatError, match="nothing to capture"):
        read_captagent(path)


def test_profile_without_enable(tmp_path: Path) -> None:
    path = make(tmp_path, {"socket_pcap": {"one": PCAP, "two": PCAP}})
    file = tmp_path / "socket_pcap.xml"
    file.write_text(file.read_text().replace('name="two" enable="true"', 'name="two"'))
    converted = read_captagent(path)
    assert [profile.name for profile in converted.settings.profiles] == ["one"]
    assert any(w.parameter == "two" and w.level == "warning" for w in converted.warnings)


def test_profile_without_a_plan(tmp_path: Path) -> None:
    converted = read_captagent(make(tmp_path, {"socket_pcap": {"one": {"dev": "any"}}}))
    assert converted.settings.profiles[0].plan is None
    assert any("hepcat's own plan" in warning.message for warning in converted.warnings)


def test_parameter_twice(tmp_path: Path) -> None:
    path = make(tmp_path)
    file = tmp_path / "socket_pcap.xml"
    again = '<param name="dev" value="eth7"/></settings>'
    file.write_text(file.read_text().replace("</settings>", again))
    converted = read_captagent(path)
    assert converted.settings.profiles[0].dev == ("eth7",)
    assert any(w.parameter == "dev" and "again" in w.message for w in converted.warnings)


def test_names_that_are_taken_or_not_plain(tmp_path: Path) -> None:
    modules = {
        "socket_tzsp": {"sip": {"capture-plan": "sip.cfg"}},
        "transport_hep": {"hepsocket": HEP, "a b": HEP},
    }
    converted = read_captagent(make(tmp_path, modules))
    assert [profile.name for profile in converted.settings.profiles] == ["sip", "sip-2"]
    assert [target.name for target in converted.settings.targets] == ["hepsocket", "a_b"]
    assert {w.parameter for w in converted.warnings if "is called" in w.message} == {"sip", "a b"}


def test_unexpected_elements_are_told(tmp_path: Path) -> None:
    path = make(tmp_path)
    file = tmp_path / "transport_hep.xml"
    text = file.read_text().replace("<settings>", "<settings><param value='1'/><other/>")
    file.write_text(
        text.replace("</settings>", "</settings><statistic><param name='x' value='1'/></statistic>")
    )
    told = {w.parameter: w.message for w in read_captagent(path).warnings}
    assert "has no name" in told["param"]
    assert "is not read" in told["other"]
    assert "counters" in told["statistic"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<document><a></document>", r":1:\d+: not well-formed XML: mismatched tag"),
        ("", "not well-formed XML: no element found"),
        ('<!DOCTYPE d [<!ENTITY a "b">]><document>&a;</document>', ":1: entities are not read"),
        ('<!DOCTYPE d [<!ENTITY a SYSTEM "/etc/passwd">]><document>&a;</document>', "entities are not read"),
        ('<!DOCTYPE d SYSTEM "http://localhost/x"><document>&a;</document>', "entit"),
        ("<document>&a;</document>", "undefined entity"),
        ("<d>" * 40 + "</d>" * 40, "nested too deeply"),
        ('<?xml version="1.0" encoding="klingon"?><document/>', "."),
        ("<document>" + "x" * (1 << 20) + "</document>", "too many"),
    ],
)
def test_xml_that_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "captagent.xml"
    path.write_text(text)
    with pytest.raises(HepcatError, match=words) as caught:
        read_captagent(path)
    assert str(path) in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 600), st.integers(0, 255))
def test_damaged_xml(noise: bytes, at: int, octet: int) -> None:
    """Any octets: an element, or an error for people."""
    import tempfile

    good = (ETC / "transport_hep.xml").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for octets in (noise, good[:at] + bytes([octet]) + good[at + 1 :], good[:at] + noise + good[at:]):
            path = Path(folder) / "x.xml"
            path.write_bytes(octets)
            said = str(path)
            try:
                parse_xml(path)
            except HepcatError as error:
                said = str(error)
            assert str(path) in said


def test_lines_of_elements(tmp_path: Path) -> None:
    root = parse_xml(ETC / "captagent.xml")
    lines = (ETC / "captagent.xml").read_text().splitlines()
    for block in root.children:
        for element in block.children[0].children:
            assert f"<{element.tag} " in lines[element.line - 1]
