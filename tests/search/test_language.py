"""The query language: what is found, where an error points, and that text stays text."""

import ipaddress
import random
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.search.ast import (
    And,
    Contains,
    Equals,
    Exists,
    Like,
    Match,
    Node,
    Not,
    Or,
    Range,
    Regex,
    Wild,
    Within,
    pins,
    time_bounds,
)
from hepcat.search.compile import compile_query, sql_of
from hepcat.search.errors import QueryError
from hepcat.search.parser import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, parse_query
from tests.search.support import NOON, Row, arrow_table, evaluate

NOW = datetime.fromtimestamp(NOON / 1e6, UTC)

ROWS: list[Row] = [
    {  # 0
        "ts": NOON, "transport": "udp", "src_ip": "10.1.2.3", "src_port": 5060, "dst_ip": "192.168.0.9",
        "dst_port": 5070, "node_id": 2001, "node_name": "homer01", "method": "INVITE",
        "from_user": "alice", "from_domain": "Example.com", "from_tag": "t1", "to_user": "bob",
        "to_domain": "example.org", "ruri": "sip:bob@example.org", "ruri_user": "bob",
        "ruri_domain": "example.org", "call_id": "Call-1@10.1.2.3", "cseq": "1 INVITE",
        "user_agent": "Test UA", "contact_user": "alice", "contact_ip": "10.1.2.3", "contact_port": 5060,
        "expires": 60, "correlation_id": "leg-1", "extra": {"X-Foo": "Bar"},
        "payload": b"INVITE sip:bob@example.org SIP/2.0\r\nX-Other: one two\r\n\r\nv=0\r\n",
    },
    {  # 1
        "ts": NOON + 1_000_000, "transport": "udp", "src_ip": "192.168.0.9", "src_port": 5070,
        "dst_ip": "10.1.2.3", "dst_port": 5060, "node_id": 2001, "node_name": "homer01",
        "method": "INVITE", "status": 486, "reason_phrase": "Busy Here", "from_user": "alice",
        "from_domain": "example.com", "from_tag": "t1", "to_user": "bob", "to_domain": "example.org",
        "to_tag": "t2", "call_id": "Call-1@10.1.2.3", "cseq": "1 INVITE",
        "payload": b"SIP/2.0 486 Busy Here\r\nFrom: <sip:alice@example.com>\r\n\r\n",
    },
    {  # 2
        "ts": NOON + 2_000_000, "transport": "tcp", "src_ip": "2001:db8::1", "src_port": 40000,
        "dst_ip": "2001:db8:0:1::2", "dst_port": 5061, "node_id": 7, "node_name": "edge",
        "method": "OPTIONS", "from_user": "Alice", "from_domain": "example.net", "to_user": "100%_\\x",
        "to_domain": "example.net", "call_id": "call-1@10.1.2.3", "cseq": "7 OPTIONS",
        "user_agent": "it's; DROP TABLE sip; -- \"x\"",
        "payload": b"OPTIONS sip:x SIP/2.0\r\nSubject: \xff\xfe raw \xc3\xa4\r\n\r\n",
    },
    {  # 3
        "ts": NOON + 86_400_000_000, "transport": "udp", "src_ip": "172.16.5.4", "src_port": 5060,
        "dst_ip": "172.32.0.1", "dst_port": 5060, "method": "REGISTER", "from_user": "+4989123",
        "from_domain": "reg.example.com", "to_user": "+4989123", "to_domain": "reg.example.com",
        "pid_user": "bob", "auth_user": "carol", "call_id": "r(3)*x", "malformed": "body_short",
        "payload": b"REGISTER sip:reg.example.com SIP/2.0\r\n\r\n",
    },
    {  # 4
        "ts": NOON + 90_000_000_000, "src_ip": "::1", "dst_ip": "::ffff", "malformed": "start_line",
        "payload": b"\x00\x01",
    },
]  # fmt: skip
ALL = list(range(len(ROWS)))


@pytest.fixture(scope="module")
def connection() -> Any:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        table = arrow_table(ROWS)
        con.register("sip", table.append_column("n", [ALL]))
        yield con


def found(con: Any, node: Node) -> list[int]:
    sql = f"SELECT n FROM sip WHERE {sql_of(compile_query(node))} ORDER BY n"
    return [row[0] for row in con.execute(sql).fetchall()]


QUERIES: list[tuple[str, list[int]]] = [
    ("", ALL),
    ("   \n ", ALL),
    ("method:INVITE", [0, 1]),
    ("METHOD:invite", [0, 1]),
    ("method=INVITE", [0, 1]),
    ("method:INVITE,options", [0, 1, 2]),
    ("method:INVITE|REGISTER", [0, 1, 3]),
    ("method:(INVITE OR REGISTER)", [0, 1, 3]),
    ('method:(INVITE "REGISTER")', [0, 1, 3]),
    ("method!=INVITE", [2, 3]),
    ("-method:INVITE", [2, 3, 4]),
    ("NOT method:INVITE", [2, 3, 4]),
    ("NOT NOT method:INVITE", [0, 1]),
    ("method!=INVITE,OPTIONS", [3]),
    ("method:INV*", [0, 1]),
    ("method:*I*", [0, 1, 2, 3]),
    ("method:?NVITE", [0, 1]),
    ("method:*", [0, 1, 2, 3]),
    ("method:null", [4]),
    ("method!=null", [0, 1, 2, 3]),
    ('method:"null"', []),
    ("method:~^(inv|opt)~", [0, 1, 2]),
    ("from:alice", [0, 1]),
    ("from:Alice", [2]),
    ("from:alice@example.com", [0, 1]),
    ("from:sip:alice@EXAMPLE.com", [0, 1]),
    ("from:@example.*", [0, 1, 2]),
    ("from:*lice", [0, 1, 2]),
    ("from:?lice@example.net", [2]),
    ("from:~^a~", [0, 1]),
    ('from:"alice"', [0, 1]),
    ("from:+49*", [3]),
    ("to:100%_\\x", [2]),
    ("to:100%_\\*", [2]),
    ("to:1%*", []),
    ("to:1??%*", [2]),
    ("to:1??_*", []),
    ("to:10?%_*", [2]),
    ("to:100?_?x", [2]),
    ("user:bob", [0, 1, 3]),
    ("user:carol", [3]),
    ("user:bob@example.org", [0, 1]),
    ("user:bob@*", [0, 1]),
    ("user!=bob", [2]),
    ("domain:example.org", [0, 1]),
    ("tag:t2", [1]),
    ("tag:T2", []),
    ("contact:alice@10.1.2.3", [0]),
    ("ip:10.1.2.3", [0, 1]),
    ("src:10.1.2.3", [0]),
    ("dst_ip:10.1.2.3", [1]),
    ("ip:10.1.2.3:5060", [0, 1]),
    ("ip:10.1.2.3:5070", []),
    ("src:10.1.2.3:5060", [0]),
    ("ip:[2001:db8::1]:40000", [2]),
    ("ip:2001:DB8:0:0::1", [2]),
    ("ip:10.0.0.0/8", [0, 1]),
    ("ip:10.1.2.3/32", [0, 1]),
    ("ip:10.1.2.0/24", [0, 1]),
    ("ip:172.16.0.0/12", [3]),
    ("ip:172.16.0.0/11", [3]),
    ("dst:172.32.0.0/11", [3]),
    ("ip:0.0.0.0/0", [0, 1, 3]),
    ("ip:128.0.0.0/1", [0, 1, 3]),
    ("ip:2001:db8::/32", [2]),
    ("src:2001:db8::/64", [2]),
    ("dst:2001:db8::/64", []),
    ("ip:2000::/3", [2]),
    ("ip:::/0", [2, 4]),
    ("ip:::1/128", [4]),
    ("dst:::/112", [4]),
    ("src:::/127", [4]),
    ("ip:10.1.*", [0, 1]),
    ("ip:~^192~", [0, 1]),
    ("port:5060", [0, 1, 3]),
    ("port:5070..40000", [0, 1, 2]),
    ("dport:5061", [2]),
    ("status:486", [1]),
    ("status:4xx", [1]),
    ("status:4XX,2xx", [1]),
    ("status:>=400", [1]),
    ("status>=400", [1]),
    ("status>4xx", []),
    ("status<5xx", [1]),
    ("status<=4xx", [1]),
    ("status:<486", []),
    ("status:<=486", [1]),
    ("status>485", [1]),
    ("status:400..499", [1]),
    ("status:400..", [1]),
    ("status:..485", []),
    ("status!=200", [1]),
    ("-status:200", ALL),
    ("status:null", [0, 2, 3, 4]),
    ("expires:60", [0]),
    ("node:2001", [0, 1]),
    ("node:HOMER*", [0, 1]),
    ("node_id:7", [2]),
    ("call_id:Call-1@10.1.2.3", [0, 1]),
    ("callid:call-1@10.1.2.3", [2]),
    ("cid:Call-1@10.1.2.3,call-1@10.1.2.3", [0, 1, 2]),
    ('call_id:"r(3)*x"', [3]),
    ("call_id:r(3)*x", [3]),
    ("corr:leg-1", [0]),
    ("cseq:1*", [0, 1]),
    ('ua:"test ua"', [0]),
    ("ua:test*", [0]),
    ('ua:"it\'s; DROP TABLE sip; -- \\"x\\""', [2]),
    ("malformed:*", [3, 4]),
    ("extra.X-Foo:bar", [0]),
    ("extra.x-foo:*", [0]),
    ("extra.X-Other:*", []),
    ("header.X-Foo:Bar", [0]),
    ("header.x-other:one*", [0]),
    ('header.X-Other:"one two"', [0]),
    ("header.X-Other:null", [1, 2, 3, 4]),
    ("busy", [1]),
    ('"busy here"', [1]),
    ('"busy  here"', []),
    ("busy here", [1]),
    ("486", [1]),
    ("bus*ere", []),
    ("b?sy", [1]),
    ('"sip:bob"', [0]),
    ("~SIP/2\\.0 4\\d\\d~", [1]),
    ("payload:raw", [2]),
    ('"raw ä"', [2]),
    ("RAW Ä", [2]),
    ("busy OR raw", [1, 2]),
    ("busy OR raw method:OPTIONS", [1, 2]),
    ("method:OPTIONS raw", [2]),
    ("method:INVITE,BYE busy here", [1]),
    ('method:(INVITE "BYE") busy "here"', [1]),
    ("(method:INVITE busy) OR raw", [1, 2]),
    ("(busy OR raw) method:OPTIONS", [2]),
    ("busy OR raw AND method:INVITE", [1]),
    ("-busy -raw", [0, 3, 4]),
    ("-(busy OR raw)", [0, 3, 4]),
    ("NOT (busy OR raw) AND method:*", [0, 3]),
    ("ts:2026-11-22", [0, 1, 2]),
    ("ts:today", [0, 1, 2]),
    ("ts:2026-11-22T12:00", [0, 1, 2]),
    ("ts:2026-11-22T12:00:01", [1]),
    ("ts:2026-11-22T12:00:01.000", [1]),
    ("ts:2026-11-22T13:00:01+01:00", [1]),
    ("ts>2026-11-22T12:00:01Z", [2, 3, 4]),
    ("ts:>=2026-11-22T12:00:01", [1, 2, 3, 4]),
    ("ts:<2026-11-22T12:00:01", [0]),
    ("ts:2026-11-22..2026-11-23", [0, 1, 2, 3, 4]),
    ("ts:12:00:01..12:00:02", [1, 2]),
    ("method:INVITE from:alice* status:>=400 ip:10.0.0.0/8 -method:OPTIONS (\"busy here\" OR 487)", [1]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_finds(connection: Any, query: str, expected: list[int]) -> None:
    node = parse_query(query, now=NOW, zone=UTC)
    assert found(connection, node) == expected
    assert [n for n in ALL if evaluate(node, ROWS[n])] == expected


def test_tree_of_the_example() -> None:
    query = (
        'method:INVITE from:alice* status:>=400 ip:10.0.0.0/8 ua:"Test UA" '
        '-method:OPTIONS ("busy here" OR 486)'
    )
    network = ipaddress.ip_network("10.0.0.0/8")
    assert parse_query(query) == And(
        (
            Match("method", Equals("INVITE"), fold=True),
            Match("from_user", Like(("alice", Wild.ANY))),
            Match("status", Range(400, None)),
            Or((Match("src_ip", Within(network)), Match("dst_ip", Within(network)))),
            Match("user_agent", Equals("Test UA"), fold=True),
            Not(Match("method", Equals("OPTIONS"), fold=True)),
            Or(
                (
                    Match("payload", Contains(("busy here",)), fold=True),
                    Match("payload", Contains(("486",)), fold=True),
                )
            ),
        )
    )


def test_a_number_has_no_case() -> None:
    """It is found twice as fast without; what has letters is found in any case."""
    number, word = (sql_of(compile_query(parse_query(query))) for query in ("+49*30", "Busy486"))
    assert "(?i)" not in number
    assert "(?i)Busy486" in word


@pytest.mark.parametrize(
    ("query", "sql"),
    [
        ("call_id:a@b", "\"call_id\" = 'a@b'"),
        ("cid:a,b", "\"call_id\" IN ('a', 'b')"),
        ("from:alice", "\"from_user\" = 'alice'"),
        ("from:al*", "\"from_user\" LIKE 'al%'"),
        ("ts>=1795348800", '"ts" >= MAKE_TIMESTAMPTZ(1795348800000000)'),
    ],
)
def test_plain_sql_so_that_files_are_pruned(query: str, sql: str) -> None:
    assert sql_of(compile_query(parse_query(query))) == sql


ERRORS: list[tuple[str, int, str]] = [
    ("metod:INVITE", 0, "did you mean method"),
    ("method:INVITE frm:alice", 14, "did you mean from"),
    ("foo:1", 0, "no field 'foo'"),
    ("status:abc", 7, "status is a number"),
    ("status:4000000000000", 7, "larger than any"),
    ("status:499..400", 7, "empty"),
    ("status:..", 7, "at least one end"),
    ("status:~4~", 7, "write a range"),
    ("from>=a", 6, "only numbers and times"),
    ("ip:foo", 3, "not an IP address"),
    ("ip:10.0.0.0/33", 3, "not a network"),
    ("ip:10.0.0.1:70000", 3, "ports end"),
    ("from:alice@", 5, "a domain is expected"),
    ("ts:soon", 3, "not a time"),
    ("ts:2026-13-01", 3, "not a date"),
    ("ua:~a(b~", 3, "missing )"),
    ("from:", 5, "a value is expected"),
    ("method:INVITE,", 14, "a value is expected"),
    ('"abc', 0, 'closing "'),
    ('ua:"abc', 3, 'closing "'),
    ("~abc", 0, "closing ~"),
    ("ua:~abc", 3, "closing ~"),
    ("a AND", 5, "a term is expected"),
    ("AND a", 0, "a term is expected"),
    ("a OR OR b", 5, "a term is expected"),
    ("OR", 0, "a term is expected"),
    ("NOT", 3, "a term is expected"),
    ("a -", 2, "right after the -"),
    ("(a", 0, "the ) for this"),
    ("a (b (c) d", 2, "the ) for this"),
    ("a)", 1, "no ( for this"),
    ("()", 1, "a term is expected"),
    ("(a OR ) b", 6, "a term is expected"),
    ("a | b", 2, "write OR"),
    ('""', 0, "no word"),
    ("header.:x", 7, "name of a header"),
    ("a\0b", 1, "not text"),
    ("a \udcff", 2, "not text"),
    ("x" * (MAX_LENGTH + 1), MAX_LENGTH, "longer than"),
    ("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "within each other"),
    ("(" * 5000, MAX_DEPTH, "within each other"),
    ("a " * (MAX_TERMS + 1), 2 * MAX_TERMS, "terms"),
    ("method:" + "?a" * 40, 7, "wildcards"),
]


@pytest.mark.parametrize(("query", "position", "reason"), ERRORS)
def test_errors_point_at_the_character(query: str, position: int, reason: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert caught.value.position == position
    assert reason in caught.value.reason
    shown = str(caught.value).splitlines()
    assert shown[-1].endswith("^")
    assert len(shown[-1]) - 1 - 2 <= 80


def test_caret_is_under_the_character_of_a_long_query() -> None:
    query = "method:INVITE " * 20 + "frm:alice " + "method:INVITE " * 20
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    line, caret = str(caught.value).splitlines()[-2:]
    assert line[caret.index("^") :].startswith("frm:alice")


def test_a_field_nobody_has_hints_at_quotes() -> None:
    with pytest.raises(QueryError) as caught:
        parse_query("http://example.com/x")
    assert '"http://example.com/x"' in caught.value.hint


def test_other_tables_have_their_own_fields() -> None:
    assert parse_query("hep_type:100", table="log") == Match("hep_type", Equals(100))
    with pytest.raises(QueryError, match="no field 'method'"):
        parse_query("method:INVITE", table="log")


def test_deepest_and_longest_allowed_run(connection: Any) -> None:
    deep = "(" * MAX_DEPTH + "busy" + ")" * MAX_DEPTH
    assert found(connection, parse_query(deep)) == [1]
    nested = "busy"
    for _ in range(MAX_DEPTH):
        nested = f"-(x OR (y {nested}))" if nested.count("(") < MAX_DEPTH - 2 else nested
    parse_query(nested)
    found(connection, parse_query(nested))
    assert found(connection, parse_query("- ".join([""] * 1) + "-" * 1000 + "busy")) == [1]
    many = " OR ".join(["user:nobody"] * (MAX_TERMS - 1) + ["busy"])
    assert found(connection, parse_query(many)) == [1]


HOSTILE = [
    "'",
    "''",
    "' OR 1=1 --",
    "'; DROP TABLE sip; --",
    "\\'",
    "\\",
    "%",
    "_",
    "$$",
    "/* */",
    "?",
    "*",
    ":x",
    "{x}",
    "\n",
    "\u2028",
    "x\ty",
    "E'\\x41'",
    "(?i)a",
    "a|b",
    "[a]",
    "^$",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_just_matches_literally(text: str) -> None:
    rows: list[Row] = [
        {"ts": NOON, "from_user": text, "user_agent": text, "payload": f"<{text}>".encode()},
        {"ts": NOON, "from_user": "alice", "user_agent": "x", "payload": b"abc"},
    ]
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    with duckdb.connect() as con:
        con.register("sip", arrow_table(rows).append_column("n", [[0, 1]]))
        for query in (
            f"from_user:{quoted}",
            f"ua:{quoted}",
            f"from:{quoted}",
            quoted,
            f"from_user:{quoted} -busy",
        ):
            assert found(con, parse_query(query)) == [0], query
        assert found(con, parse_query(f"-from_user:{quoted}")) == [1]


TEXTS = ["", "a", "A", "alice", "Alice", "b%", "b_", "x'y", "\\", "a b", "486", "ä"]
ADDRESSES = [
    "10.0.0.1",
    "10.0.1.1",
    "172.16.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "::",
    "::1",
    "1::",
    "fe80::1:2",
    "2001:db8::1",
    "2001:db8:1:2:3:4:5:6",
    "2001:db8:1::6",
    "1:2:3:4:5:6:7:0",
]

texts = st.sampled_from(TEXTS)
addresses = st.sampled_from(ADDRESSES)
random_rows = st.lists(
    st.fixed_dictionaries(
        {"ts": st.integers(NOON, NOON + 5)},
        optional={
            "from_user": texts,
            "method": st.sampled_from(["INVITE", "invite", "BYE"]),
            "status": st.sampled_from([100, 180, 200, 399, 400, 486, 500]),
            "src_ip": addresses,
            "extra": st.just({"X-Foo": "Bar"}),
            "payload": st.builds(
                lambda a, b: a.encode() + b + a.encode(),
                texts,
                st.sampled_from([b"", b" ", b"\xff", b"\r\n"]),
            ),
        },
    ),
    max_size=8,
)
patterns = st.lists(
    st.one_of(st.sampled_from(["a", "A", "li", "%", "_", "'", "b"]), st.sampled_from(list(Wild))),
    min_size=1,
    max_size=4,
).map(tuple)
networks = st.builds(
    lambda address, bits: ipaddress.ip_network(
        (address, bits % (ipaddress.ip_address(address).max_prefixlen + 1)), strict=False
    ),
    addresses,
    st.integers(0, 128),
)
bounds = st.one_of(st.none(), st.sampled_from([100, 180, 200, 400, 486]))
ranges = st.builds(Range, bounds, bounds).filter(lambda r: (r.low, r.high) != (None, None))
names = st.sampled_from(["X-Foo", "x-foo", "X-No"])
regexes = st.builds(Regex, st.sampled_from(["^a", "b.$", "[0-9]+", "x'y"]))
user_tests = st.one_of(st.builds(Equals, texts), st.builds(Like, patterns), st.builds(Exists), regexes)
numbers = st.one_of(ranges, st.builds(Equals, st.sampled_from([200, 486])), st.builds(Exists))
leaves = st.one_of(
    st.builds(Match, st.just("from_user"), user_tests, st.booleans()),
    st.builds(Match, st.just("method"), st.builds(Equals, st.sampled_from(["INVITE", "bye"])), st.booleans()),
    st.builds(Match, st.just("status"), numbers),
    st.builds(Match, st.just("ts"), st.builds(Range, st.integers(NOON, NOON + 5), st.none())),
    st.builds(Match, st.just("src_ip"), st.one_of(st.builds(Within, networks), st.builds(Equals, addresses))),
    st.builds(Match, st.just("payload"), st.builds(Contains, patterns), st.just(True)),
    st.builds(
        Match,
        st.sampled_from(["extra", "header"]),
        st.builds(Equals, st.sampled_from(["bar", "Bar"])),
        st.booleans(),
        names,
    ),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, max_size=4).map(lambda t: And(tuple(t))),
        st.lists(inner, max_size=4).map(lambda t: Or(tuple(t))),
    ),
    max_leaves=12,
)


@settings(max_examples=70, deadline=None)
@given(random_rows, st.lists(trees, min_size=1, max_size=6))
def test_duckdb_and_python_agree(rows: list[Row], nodes: list[Node]) -> None:
    with duckdb.connect() as con:
        con.register("sip", arrow_table(rows).append_column("n", [list(range(len(rows)))]))
        for node in nodes:
            python = [n for n, row in enumerate(rows) if evaluate(node, row)]
            # ts is a number here and a timestamp there
            assert found(con, node) == python, sql_of(compile_query(node))


def test_networks_agree_with_ipaddress_on_many_addresses() -> None:
    rng = random.Random(5)
    pool: list[str] = list(ADDRESSES)
    for _ in range(300):
        groups = [rng.choice([0, 0, 0, 1, 0xFFFF, rng.randrange(65536)]) for _ in range(8)]
        pool.append(str(ipaddress.IPv6Address(b"".join(g.to_bytes(2) for g in groups))))
        pool.append(str(ipaddress.IPv4Address(rng.randrange(2**32))))
    rows = [{"ts": NOON, "src_ip": address} for address in pool]
    with duckdb.connect() as con:
        con.register("sip", arrow_table(rows).append_column("n", [list(range(len(rows)))]))
        for _ in range(60):
            address = ipaddress.ip_address(rng.choice(pool))
            bits = rng.randrange(address.max_prefixlen + 1)
            node = Match("src_ip", Within(ipaddress.ip_network((address, bits), strict=False)))
            assert found(con, node) == [n for n, row in enumerate(rows) if evaluate(node, row)], node


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='ab:=!<>()"~*?\\-,|.4 \nxANDORT', max_size=40))
def test_any_text_parses_or_gives_a_query_error(query: str) -> None:
    try:
        node = parse_query(query)
    except QueryError:
        return
    sql_of(compile_query(node))


def test_time_bounds_of_the_outermost_and() -> None:
    assert time_bounds(parse_query("ts>=1795348800 ts<1795348900 busy")) == (NOON, NOON + 100_000_000 - 1)
    assert time_bounds(parse_query("ts>=1795348800 OR busy")) == (None, None)
    assert time_bounds(parse_query("-ts>=1795348800")) == (None, None)


def test_pins() -> None:
    columns = frozenset({"call_id"})
    assert pins(parse_query("cid:a status:4xx"), columns)
    assert pins(parse_query("cid:a,b"), columns)
    assert not pins(parse_query("cid:a OR busy"), columns)
    assert not pins(parse_query("-cid:a"), columns)
    assert not pins(parse_query("cid:a*"), columns)
    assert not pins(parse_query(""), columns)
