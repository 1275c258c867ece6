"""Configuration: precedence, and errors with place, finding and what is allowed."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcat.config.loader import ConfigError, load_settings, unknown_variables
from hepcat.config.positions import key_lines
from hepcat.config.values import format_octets, parse_octets, split_host_port
from tests.support import hepcat

BROKEN: list[tuple[str, str, list[str]]] = [
    (
        "unknown key, near one",
        "[hep]\nwrkers = 1\n",
        ['2: hep.wrkers: unknown setting; did you mean "workers"?'],
    ),
    ("key of another table", "workers = 2\n", ["1: workers: unknown setting here; there is hep.workers"]),
    (
        "unknown key, near none",
        "[log]\nzzz = 1\n",
        ["2: log.zzz: unknown setting; allowed here: level, format, interval"],
    ),
    ("unknown table", "\n\n[lakes]\nx = 1\n", ['3: lakes: unknown setting; did you mean "lake"?']),
    ("too small", "[hep]\nworkers = 0\n", ["2: hep.workers: should be greater than or equal to 1, found 0"]),
    ("wrong type", '[hep]\nworkers = "many"\n', ["2: hep.workers: has to be a whole number, found 'many'"]),
    (
        "not one of",
        '[log]\nlevel = "loud"\n',
        ["should be 'debug', 'info', 'warning' or 'error', found 'loud'"],
    ),
    ("no table", "hep = 5\n", ["1: hep: has to be a table, as in [hep]"]),
    (
        "size",
        '[queue]\nmemory = "lots"\n',
        ['2: queue.memory: a size is a number of octets, or text such as "256MiB"'],
    ),
    ("element of a list", '[hep]\nlisten = [\n "udp://127.0.0.1",\n "ftp://x",\n]\n', ["4: hep.listen[1]: "]),
    (
        "second of several tables",
        '[[hep.keys]]\nname="a"\nkey="x"\n[[hep.keys]]\nname="b"\n',
        ["4: hep.keys[1]: give exactly one of"],
    ),
    ("missing", '[[hep.keys]]\nkey = "x"\n', ["hep.keys[0].name: is missing"]),
    ("dotted key", "hep.workers = -1\n", ["1: hep.workers: "]),
    ("inline table", "log = { level = 'info', format = 'xml' }\n", ["1: log.format: "]),
    ("header name", 'extra_headers = ["X Y"]\n', ['1: extra_headers: "X Y" cannot be a header name']),
    ("alias", '[aliases]\n"10.0.0.1:x" = "a"\n', ["aliases: "]),
    ("syntax", "a = 1\nb = = 2\n", ["2: not valid TOML: "]),
    ("end of file", 'a = "x', ["1: not valid TOML: "]),
    ("twice", "data = 'a'\ndata = 'b'\n", ["2: not valid TOML: "]),
    (
        "tls without files",
        '[hep]\nlisten = ["tls://127.0.0.1"]\n',
        ["1: hep: a tls:// listener needs certificate and key"],
    ),
    (
        "public http",
        '[http]\nlisten = "0.0.0.0:80"\n[web]\nenabled = false\n',
        ["0.0.0.0:80 can be reached by other machines"],
    ),
    (
        "lake",
        "[lake]\nretention_days = 0\n",
        ["2: lake.retention_days: should be greater than or equal to 1, found 0"],
    ),
    (
        "text for a list",
        '[hep]\nlisten = "udp://0.0.0.0:9060"\n',
        ['2: hep.listen: has to be a list, as in ["udp://0.0.0.0:9060"]'],
    ),
    (
        "text for a list of names",
        'extra_headers = "X-A"\n',
        ['1: extra_headers: has to be a list, as in ["X-A"]'],
    ),
    ("number for a list", "[hep]\nlisten = 9060\n", ["2: hep.listen: has to be a list, found 9060"]),
    ("empty list", "[hep]\nlisten = []\n", ["2: hep.listen: must not be empty"]),
    ("list for a table", "[hep]\ntls = ['a']\n", ["2: hep.tls: has to be a table, as in [hep.tls]"]),
    (
        "text for tables",
        "[hep]\nkeys = 'k'\n",
        ["2: hep.keys: has to be a list of tables, each as in [[hep.keys]]"],
    ),
    ("texts for tables", "[hep]\nkeys = ['k']\n", ["2: hep.keys[0]: has to be a table, as in [[hep.keys]]"]),
    ("number for a path", "data = 5\n", ["1: data: has to be text in quotes, found 5"]),
    ("number for text", "user = 5\n", ["1: user: has to be text in quotes, found 5"]),
    (
        "text for a switch",
        "[http]\npublic = 'maybe'\n",
        ["2: http.public: has to be true or false, found 'maybe'"],
    ),
    ("list for a switch", "[http]\npublic = []\n", ["2: http.public: has to be true or false"]),
    ("fraction", "[hep]\nworkers = 1.5\n", ["2: hep.workers: has to be a whole number, found 1.5"]),
    ("list for a number", "[hep]\nworkers = []\n", ["2: hep.workers: has to be a whole number"]),
    ("no number", "[hep]\nidle_timeout = 'x'\n", ["2: hep.idle_timeout: has to be a number, found 'x'"]),
    ("not finite", "[hep]\nidle_timeout = inf\n", ["2: hep.idle_timeout: has to be a number, found inf"]),
    ("empty text", '[[hep.keys]]\nname = ""\nkey = "x"\n', ["2: hep.keys[0].name: must not be empty"]),
    (
        "number in a table of texts",
        '[aliases]\n"10.0.0.1" = 5\n',
        ["2: aliases.10.0.0.1: has to be text in quotes"],
    ),
    ("no memory", '[lake]\nquery_memory = "0MB"\n', ["2: lake.query_memory: 0MB is not in 16MB..1000TB"]),
    ("too little memory", '[lake]\nquery_memory = "15 MB"\n', ["2: lake.query_memory: 15 MB is not in 16MB"]),
    (
        "too much memory",
        '[lake]\nquery_memory = "9999999TB"\n',
        ["2: lake.query_memory: 9999999TB is not in"],
    ),
    (
        "memory without a unit",
        '[lake]\nquery_memory = "512"\n',
        ['2: lake.query_memory: memory of queries is text such as "512MB" or "2GiB"'],
    ),
    ("nested brackets", "a = " + "[" * 3000 + "]" * 3000, ["brackets nested too deeply"]),
    ("brackets that never close", "a = " + "[" * 3000, ["brackets nested too deeply"]),
    ("nested tables", "a = " + "{a=" * 3000 + "1" + "}" * 3000, ["brackets nested too deeply"]),
    ("two at once, in order", "[hep]\nworkers = 0\nslots = 1\n", ["2: hep.workers", "3: hep.slots"]),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_broken_files(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {}, {})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected), lines
    for line, part in zip(lines, expected, strict=True):
        assert line.startswith(f"{path}:")
        assert part in line


def test_precedence(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('data = "file"\nuser = "file"\n[hep]\nworkers = 2\n[log]\nlevel = "error"\n')
    environ = {"HEPCAT_DATA": "env", "HEPCAT_HEP_WORKERS": "3", "HEPCAT_EXTRA_HEADERS": "X-A, X-B"}
    settings = load_settings(path, {"data": "flag", "http.listen": None}, environ)
    assert settings.data == Path("flag")
    assert settings.hep.workers == 3
    assert settings.log.level == "error"
    assert settings.queue.memory == 256 * 2**20
    assert settings.extra_headers == ("X-A", "X-B")
    assert load_settings(None, {}, {"HEPCAT_CONFIG": str(path)}).user == "file"
    assert load_settings(None, {}, {"HEPCAT_ALIASES": "10.0.0.1=a, 10.0.0.2:5060=b"}).aliases == {
        "10.0.0.1": "a",
        "10.0.0.2:5060": "b",
    }


@pytest.mark.parametrize(
    ("flags", "environ", "where"),
    [
        ({"hep.listen": ["x"]}, {}, "--hep: hep.listen[0]: "),
        ({"http.listen": "0.0.0.0:0"}, {}, "--http: http.listen: "),
        (
            {},
            {"HEPCAT_HEP_WORKERS": "x"},
            "HEPCAT_HEP_WORKERS: hep.workers: has to be a whole number, found 'x'",
        ),
    ],
)
def test_place_of_flags_and_variables(flags: dict[str, Any], environ: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, flags, environ)
    assert str(caught.value).startswith(where)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("9060", '"9060": a HEP listener is udp://, tcp:// or tls://ADDRESS:PORT'),
        ("http://127.0.0.1", '"http://": a HEP listener is'),
        ("udp://example.org:9060", '"example.org" is not an IP address'),
        ("udp://:9060", "the address is missing"),
        ("udp://127.0.0.1:0", "port 0 is not in 1..65535"),
        ("udp://127.0.0.1:99999", "port 99999 is not in 1..65535"),
        ("udp://::1:9060", "in brackets"),
        ("tls://127.0.0.1:9061", "needs certificate and key"),
    ],
)
def test_urls(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"hep.listen": [url]}, {})
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


def test_secrets_are_never_told(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    texts = [
        '[[hep.keys]]\nname = "a"\nkey = "topsecret"\nkey_file = "x"\n',
        '[[hep.keys]]\nkey = "topsecret"\n',
        '[[hep.keys]]\nname = "a"\nkey = ["topsecret"]\n',
        '[hep]\nkey = "topsecret"\n',
        '[[hep.keys]]\nname = "a"\nkey = "topsecret"\nkye = "topsecret"\n',
    ]
    for text in texts:
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_settings(path, {}, {})
        assert "topsecret" not in str(caught.value) + repr(caught.value.problems)
    path.write_text('[[hep.keys]]\nname = "a"\nkey = "topsecret"\n')
    settings = load_settings(path, {}, {})
    assert "topsecret" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.hep.keys[0].read() == b"topsecret"


def test_unreadable_files(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=said):
            load_settings(path, {}, {})
    (tmp_path / "latin").write_bytes(b'data = "\xe4"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(tmp_path / "latin", {}, {})


def test_variables_that_are_no_settings() -> None:
    assert unknown_variables(
        {"HEPCAT_HEP_WORKER": "1", "HEPCAT_DATA": "x", "HEPCAT_PURE": "1", "HOME": "/"}
    ) == [("HEPCAT_HEP_WORKER", "HEPCAT_HEP_WORKERS")]


def test_check_config(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[hep]\nlisten = ["udp://0.0.0.0"]\n[[hep.keys]]\nname = "a"\nkey_file = "/none"\n')
    done = hepcat("check-config", str(path), check=False)
    assert done.returncode == 1
    assert "cannot read /none" in done.stderr
    path.write_text('[hep]\nlisten = ["udp://0.0.0.0"]\n')
    done = hepcat("check-config", str(path))
    assert done.stdout.startswith(f"ok: {path}\n")
    assert "udp://0.0.0.0:9060" in done.stdout
    path.write_text('user = "no-such-user"\n')
    done = hepcat("check-config", str(path), check=False)
    assert done.returncode == 1
    assert f"{path}: there is no user no-such-user" in done.stderr
    path.write_text("[hep]\nworkers = 'x'\n")
    done = hepcat("check-config", str(path), check=False)
    assert done.returncode == 1
    assert f"{path}:2: hep.workers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "octets"),
    [("1", 1), (4096, 4096), ("64MiB", 2**26), ("1.5 GiB", 3 * 2**29), ("2k", 2048), ("10 MB", 10 * 2**20)],
)
def test_sizes(text: Any, octets: int) -> None:
    assert parse_octets(text) == octets


@pytest.mark.parametrize("text", ["", "x", "-1", -1, "1 parsec", None, True, 1.5])
def test_sizes_that_are_none(text: Any) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_octets(text)


def test_sizes_for_people() -> None:
    assert [format_octets(n) for n in (17, 2048, 2**23, 3 * 2**40)] == [
        "17 B",
        "2.0 KiB",
        "8.0 MiB",
        "3.0 TiB",
    ]


def test_addresses() -> None:
    assert split_host_port("[::1]:5", None) == ("::1", 5)
    assert split_host_port("localhost:5") == ("127.0.0.1", 5)
    for text in ("1.2.3.4", "[1.2.3.4]:5", "::1:5", "[::1", "a.b:5", "1.2.3.4:70000", "1.2.3.4:"):
        with pytest.raises(ValueError, match=r".+"):
            split_host_port(text)


def test_positions() -> None:
    text = (
        "a = 1 # [b]\n'x.y' = '''\n[no]\n'''\n[t.u]\nb = [\n  1, # one\n  { c = 2 },\n]\n"
        '[[k]]\nn = "\\"]"\n[[k]]\n[k.s]\nd.e = 1\n'
    )
    tomllib.loads(text)
    lines = key_lines(text)
    expected: dict[tuple[str | int, ...], int] = {
        ("a",): 1,
        ("x.y",): 2,
        ("t", "u"): 5,
        ("t", "u", "b"): 6,
        ("t", "u", "b", 0): 7,
        ("t", "u", "b", 1, "c"): 8,
        ("k", 0, "n"): 11,
        ("k", 1): 12,
        ("k", 1, "s", "d", "e"): 14,
    }
    for path, line in expected.items():
        assert lines[path] == line, path
    assert ("no",) not in lines


@given(st.text(alphabet="ab.=[]{}\"'#\n ,1\\", max_size=80))
def test_positions_of_any_text_end(text: str) -> None:
    key_lines(text)  # whatever the text, it comes to an end without an exception
