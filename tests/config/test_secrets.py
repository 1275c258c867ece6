"""Secrets of the configuration: whatever is wrong with a value, no error shows what it was."""

from pathlib import Path

import pytest

from hepcat.config.databases import safe_url
from hepcat.config.loader import ConfigError, load_settings, walk_settings

SECRETS = [setting for setting in walk_settings() if setting.secret]


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: str(setting.name))
def test_values_of_a_wrong_shape(tmp_path: Path, setting: object) -> None:
    *tables, name = setting.path  # type: ignore[attr-defined]
    for wrong in ('"topsecret"', '["topsecret"]', '[["topsecret"]]', '{topsecret = "topsecret"}'):
        document = wrong
        for table in (name, *reversed(tables)):
            array = table in ("keys", "databases", "targets", "profiles")
            document = f"[{document}]" if array else document
            document = f"{{{table} = {document}}}"
        path = tmp_path / "c.toml"
        path.write_text(f"{document[1:-1]}\n")
        told = ""
        try:
            load_settings(path, {}, {})
        except ConfigError as error:
            told = str(error).replace(f"{name}.topsecret", "")  # a key is no value
        assert "topsecret" not in told


@pytest.mark.parametrize(
    "mode",
    [
        "db_url=mysql://u:topsecret@h/d",
        "a=db_url=mysql://u:topsecret@h/d",
        "a=>db_url=mysql://u:x;topsecret@h/d",
        "a=>db_url=mysql://u:x;topsecret=1@h/d",
        "a=>db_url=mysq://u:topsecret@h/d",
        "a=>url=mysql://u:topsecret@h/d",
        "a=>db_url=mysql://u:topsecret@h/d;mt_mode=x",
    ],
)
def test_capture_modes(mode: str) -> None:
    with pytest.raises(ConfigError) as told:
        load_settings(None, {"sipcapture.capture_mode": [mode]}, {})
    assert "capture mode" in str(told.value)
    assert "topsecret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://u:secret@h/d", "mysql://u:***@h/d"),
        ("mysql://u:se@cr/et@h:3306/d", "mysql://u:***@h:3306/d"),
        ("mysql://u/x:secret@h/d", "mysql://u/x:***@h/d"),
        ("mysql://u@x:secret@h/d", "mysql://u@x:***@h/d"),
        ("mysql://u:se\ncret@h/d", "mysql://u:***@h/d"),
        ("postgres://h/d?password=secret&sslmode=off", "postgres://h/d?password=***&sslmode=off"),
        ("unixodbc://DSN;PWD=secret", "unixodbc://DSN;PWD=***"),
        ("mysql://u@h:3306/d", "mysql://u@h:3306/d"),
        ("sqlite:////var/lib/calls.db", "sqlite:////var/lib/calls.db"),
        ("clickhouse://h1:9000,h2:9000/d?cluster=c", "clickhouse://h1:9000,h2:9000/d?cluster=c"),
    ],
)
def test_urls_for_people(url: str, shown: str) -> None:
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"databases": 5}, "databases: has to be a list of tables"),
        ({"databases": "x"}, "databases: has to be a list of tables"),
        ({"callid_aleg_header": 5}, "callid_aleg_header: has to be a list"),
        ({"callid_aleg_header": "X-CID"}, 'callid_aleg_header: has to be a list, as in ["X-CID"]'),
        ({"stores": 5}, "stores: has to be a list"),
        ({"sipcapture.capture_node": "x" * 101}, "sipcapture.capture_node: should have at most 100"),
        ({"sipcapture.raw_socket_listen": "10.0.0.256:5060"}, '"10.0.0.256" is no IP address'),
    ],
)
def test_other_settings_of_a_wrong_shape_beside_the_classic_section(
    flags: dict[str, object], said: str
) -> None:
    """It is read before they are checked."""
    with pytest.raises(ConfigError) as told:
        load_settings(None, {"sipcapture.raw_ipip_capture_on": 1, **flags}, {})
    assert said in str(told.value)
