"""kamailio.cfg becomes settings; what has no counterpart is told with file and line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcat.config.kamailio import Converted, read_kamailio
from hepcat.config.loader import load_settings
from hepcat.config.settings import Settings
from hepcat.config.sipcapture import SipcaptureSettings
from hepcat.errors import HepcatError
from tests.support import ROOT

CFG = Path(__file__).with_name("kamailio.cfg")
DEBIAN = Path("/usr/share/doc/kamailio/examples/pkg/sipcapture.cfg")
SMALL = 'loadmodule "sipcapture.so"\n'


def read(tmp_path: Path, text: str) -> Converted:
    path = tmp_path / "kamailio.cfg"
    path.write_text(text)
    return read_kamailio(path)


def settings_of(path: Path) -> Settings:
    return load_settings(None, environ={}, base=read_kamailio(path))


def test_a_usual_file() -> None:
    settings = settings_of(CFG)
    assert settings.hep.listen == ("udp://192.0.2.10:9060", "tcp://192.0.2.10:9061")
    assert settings.user == "kamailio"
    assert settings.stores == ("lake", "sipcapture", "second", "third")
    first, second, third = settings.databases
    assert first.read() == "mysql://kamailio:kamailiorw@localhost/homer_data"
    assert (first.table_name, first.capture_node, first.insert_retries) == (
        "sip_capture_%Y%m%d|other", "homer03", 5
    )  # fmt: skip
    assert (second.read(), second.table_name) == ("postgres://u:pw@db2/homer", "sip")
    assert third.read() == "text:///var/lib/dbtext"
    classic = settings.sipcapture
    assert classic is not None
    assert classic.capture_on
    assert classic.hep_capture_on
    assert classic.raw_moni_capture_on
    assert not classic.raw_ipip_capture_on
    assert classic.raw_socket_listen == "10.0.0.0:5060-5090"
    assert settings.callid_aleg_header == ("X-CID", "X-Leg")
    assert settings.control.rpc_fifo == Path("/run/kamailio/rpc")


def test_what_has_no_counterpart_is_told() -> None:
    told = {(w.file.name, w.line): w for w in read_kamailio(CFG).warnings}
    text = CFG.read_text().splitlines()

    def line(start: str) -> int:
        return next(number for number, found in enumerate(text, 1) if found.strip().startswith(start))

    assert "SCTP" in told["kamailio.cfg", line("listen=sctp")].message
    assert "no IP address" in told["kamailio.cfg", line("listen=eth0")].message
    assert "no counterpart" in told["kamailio.cfg", line('modparam("tm"')].message
    assert "no counterpart" in told["kamailio.cfg", line('loadmodule "tm')].message
    assert "not run" in told["kamailio.cfg", line("route {")].message
    assert told["kamailio.cfg", line("route {")].parameter == "route"
    assert told["kamailio.cfg", line("event_route[")].parameter == "event_route[sipcapture:request]"
    assert 'sip_capture("calls_%Y")' in told["kamailio.cfg", line('sip_capture("calls')].parameter
    assert told["modules.cfg", 2].parameter == "other callid_aleg_header"
    assert told["kamailio.cfg", line("children")].level == "info"


def test_a_slip_in_a_parameter_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        HepcatError, match=r'kamailio.cfg:2: .*no such parameter; did you mean "insert_retries"'
    ):
        read(tmp_path, SMALL + 'modparam("sipcapture", "insert_retris", 5)\n')


@pytest.mark.parametrize("name", SipcaptureSettings.model_fields)
def test_each_parameter_of_the_module(name: str, tmp_path: Path) -> None:
    values = {
        "db_url": "sqlite:///x.db",
        "raw_socket_listen": "10.0.0.1:5060",
        "mt_mode": "hash",
        "hash_source": "to_user",
        "capture_mode": "two=>db_url=sqlite:///two.db",
    }
    value = (
        f'"{values[name]}"'
        if name in values
        else '"text"'
        if "header" in name
        else "2"
        if "children" in name
        else "1"
    )
    if SipcaptureSettings.model_fields[name].annotation is str and name not in values:
        value = '"text"'
    more = 'modparam("sipcapture", "raw_socket_listen", "10.0.0.1:5060")\n' if "moni" in name else ""
    read(tmp_path, f'{more}modparam("sipcapture", "{name}", {value})\n')
    settings = settings_of(tmp_path / "kamailio.cfg")
    assert settings.sipcapture is not None
    assert name in settings.sipcapture.model_fields_set
    assert getattr(settings.sipcapture, name) != SipcaptureSettings.model_fields[name].default


def test_listeners_of_a_file_that_names_none(tmp_path: Path) -> None:
    read(tmp_path, SMALL + "port=5070\n")
    assert settings_of(tmp_path / "kamailio.cfg").hep.listen == ("udp://0.0.0.0:5070", "tcp://0.0.0.0:5070")
    read(tmp_path, SMALL + "listen=*\nlisten=udp:[2001:db8::1]:9060\n")
    assert settings_of(tmp_path / "kamailio.cfg").hep.listen == (
        "udp://0.0.0.0:5060", "tcp://0.0.0.0:5060", "udp://[2001:db8::1]:9060"
    )  # fmt: skip


def test_doors_where_their_modules_are_loaded(tmp_path: Path) -> None:
    document = read(tmp_path, SMALL + 'loadmodule "mi_fifo.so"\nloadmodule "jsonrpcs"\n').document
    assert document["control"] == {
        "rpc_fifo": "/run/kamailio/kamailio_rpc.fifo", "mi_fifo": "/tmp/kamailio_fifo"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('modparam("sipcapture", "captur_on", 1)', r"kamailio.cfg:1: captur_on: sipcapture has no such"),
        ('\nmodparam("sipcapture", "db_url", "foo://x:secret@y")', r'kamailio.cfg:2: .*"foo://" is no URL'),
        ('modparam("sipcapture", "insert_retries", 501)', r"kamailio.cfg:1: .*500"),
        ('modparam("sipcapture", "capture_on"', r"kamailio.cfg:1: modparam\( is not closed"),
        ('modparam("sipcapture", "db_url", "mysql://', r"kamailio.cfg:1: this string has no end"),
        ("/* for ever", r"kamailio.cfg:1: this comment has no end"),
        ("#!ifdef X\n", r"kamailio.cfg:1: this condition is not closed"),
        ("#!endif\n", r"kamailio.cfg:1: #!endif without #!ifdef"),
        ("route { if (1) { drop; }\n", r"kamailio.cfg:1: this block is not closed"),
        ('include_file "kamailio.cfg"', r"include each other too deeply"),
        ('include_file "none.cfg"', r"kamailio.cfg:1: cannot read .*none.cfg"),
        ('loadmodule "tm.so"\n', r"loads no module sipcapture"),
        (SMALL + "listen=udp:10.0.0.1:99999\n", r"kamailio.cfg:2: listen: port 99999"),
        ('modparam("sipcapture", "raw_moni_capture_on", 1)', r"needs a port or a range in raw_socket_listen"),
        (
            'modparam("sipcapture", "raw_moni_capture_on", 1)\n'
            'modparam("sipcapture", "raw_ipip_capture_on", 1)\n'
            'modparam("sipcapture", "raw_socket_listen", "10.0.0.1:5060")',
            r"exclude each other",
        ),
    ],
)
def test_faults(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "kamailio.cfg").write_text(text)
    with pytest.raises(HepcatError) as raised:
        settings_of(tmp_path / "kamailio.cfg")
    assert re.search(said, str(raised.value)), str(raised.value)
    assert "secret" not in str(raised.value)


PIECES = (
    *"\"'{}();,=#\\\n1 \0é",
    *(
        "/*",
        "*/",
        "#!ifdef A\n",
        "#!endif\n",
        "#!else\n",
        "modparam(",
        "route",
        "listen",
        "sipcapture",
        "db_url",
    ),
    *("#!define A B\n", '#!define A "B', "#!subst"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_anything_is_read_or_refused_in_words(pieces: list[str]) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".cfg") as file:
        file.write("".join(pieces).encode())
        file.flush()
        try:
            read_kamailio(Path(file.name))
        except HepcatError as error:
            said = str(error)
        else:
            said = "read"
        assert said


def test_convert_prints_what_serve_would_use(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hepcat", "convert", "kamailio", str(CFG)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    file = tmp_path / "hepcat.toml"
    file.write_text(done.stdout)
    assert load_settings(file, environ={}) == settings_of(CFG)
    assert "kamailio.cfg:" in done.stdout.split("[sipcapture]")[0]
    assert "have no counterpart" in done.stderr


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's kamailio is not installed")
def test_the_example_of_debian() -> None:
    settings = settings_of(DEBIAN)
    assert settings.databases[0].read() == "mysql://homer_user:homer_password@127.0.0.1/homer_data"
    assert settings.hep.listen == ("udp://0.0.0.0:9060", "tcp://0.0.0.0:9061")


def test_config_goes_over_it(tmp_path: Path) -> None:
    over = tmp_path / "hepcat.toml"
    over.write_text('[sipcapture]\ncapture_node = "other"\ninsert_retries = 501\n')
    with pytest.raises(HepcatError, match=r"hepcat.toml:3: sipcapture.insert_retries"):
        load_settings(over, environ={}, base=read_kamailio(CFG))
    over.write_text('[sipcapture]\ncapture_node = "other"\n')
    settings = load_settings(over, environ={}, base=read_kamailio(CFG))
    assert settings.sipcapture is not None
    assert settings.sipcapture.capture_node == "other"
    assert settings.sipcapture.capture_on
