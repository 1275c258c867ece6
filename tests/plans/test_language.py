"""The language of capture plans: what is accepted, what it means, and how errors read."""

import pytest

from hepcat.errors import HepcatError
from hepcat.plans.ast import And, Block, Call, End, If, Not, Or, Position
from hepcat.plans.compiler import compile_plan
from hepcat.plans.parser import MAX_DEPTH, parse_plan
from tests.plans.support import bench, sip


def block_of(text: str) -> Block:
    return parse_plan(f"capture {{ {text} }}", "test.cfg").captures[0].block


def condition_of(text: str) -> object:
    statement = block_of(f"if ({text}) drop;").statements[0]
    assert isinstance(statement, If)
    return statement.condition


def shown(node: object) -> str:
    """A condition in prefix form."""
    if isinstance(node, Call):
        return node.name
    if isinstance(node, Not):
        return f"!{shown(node.term)}"
    if isinstance(node, And | Or):
        sign = "&" if isinstance(node, And) else "|"
        return f"({sign} {' '.join(shown(term) for term in node.terms)})"
    return str(node.value)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("a()", "a"),
        ("!a()", "!a"),
        ("not a()", "!a"),
        ("! not a()", "a"),
        ("a() && b()", "(& a b)"),
        ("a() & b() and c()", "(& a b c)"),
        ("a() | b() or c() || d()", "(| a b c d)"),
        ("a() || b() && c()", "(| a (& b c))"),
        ("a() && b() || c()", "(| (& a b) c)"),
        ("!a() && b()", "(& !a b)"),
        ("!(a() && b())", "!(& a b)"),
        ("(a() || b()) && c()", "(& (| a b) c)"),
        ("1", "1"),
        ("0 || 17", "(| 0 1)"),
        ("yes && true && on && enable", "(& 1 1 1 1)"),
        ("no || false || off || disable", "(| 0 0 0 0)"),
        ("android() and onward() and nothing()", "(& android onward nothing)"),
    ],
)
def test_operators(text: str, prefix: str) -> None:
    assert shown(condition_of(text)) == prefix


def test_statements() -> None:
    block = block_of("a(); ; { b('x'); } drop; drop(); break; if (a()) b(); else c(); if a() { }")
    kinds = [type(statement).__name__ for statement in block.statements]
    assert kinds == ["Call", "Block", "End", "End", "End", "If", "If"]
    assert block.statements[2] == End("drop", Position(1, 30))


def test_branches_take_a_call_with_or_without_its_semicolon() -> None:
    for text in ("if (a()) b() else c();", "if (a()) b(); else c();", "if a() { b(); } else { c(); }"):
        statement = block_of(text).statements[0]
        assert isinstance(statement, If)
        assert statement.otherwise is not None, text


def test_else_belongs_to_the_nearest_if() -> None:
    outer = block_of("if (a()) if (b()) c(); else d();").statements[0]
    assert isinstance(outer, If)
    assert outer.otherwise is None
    assert isinstance(outer.then, If)
    assert isinstance(outer.then.otherwise, Call)


def test_comments_and_strings() -> None:
    text = """# one { " '
    /* two /* nested */ still */
    debug = 4 # three
    capture["my plan"] { a("# no comment", '/* none */'); /* x */ b("q\\"\\n\\t\\\\ \\. \\d"); }
    """
    tree = parse_plan(text, "f")
    assert tree.debug == 4
    (capture,) = tree.captures
    assert capture.name == "my plan"
    first, second = capture.block.statements
    assert isinstance(first, Call)
    assert isinstance(second, Call)
    assert [a.text for a in first.arguments] == ["# no comment", "/* none */"]
    assert second.arguments[0].text == 'q"\n\t\\ \\. \\d'
    assert first.position == (4, 26)


def test_files_of_other_systems_are_read() -> None:
    made = bench('\ufeff# caf\xe9\r\ncapture {\r\n\tif (parse_sip())\r\n\t\tsend_hep("hepsocket");\r\n}\r\n')
    made.run(sip())
    assert made.sent == [0]


def test_several_captures_are_chosen_by_name() -> None:
    text = 'capture[one] { send_hep("hepsocket"); } capture[two] { send_hep("other"); }'
    assert bench(text, name="two").plan.targets == {"other"}
    assert bench(f"{text} capture {{ drop; }}").plan.name == ""
    with pytest.raises(HepcatError, match=r'several captures: "one", "two"'):
        bench(text)
    with pytest.raises(HepcatError, match=r'there is no capture "tow"; did you mean "two"'):
        bench(text, name="tow")


#: plan -> what the error says. Positions count from 1.
ERRORS = [
    ('capture { send_hep("x) }', "1:20: the closing quote of this string is missing on its line"),
    ("capture { send_hep(x); }", '1:20: "x" cannot stand here; expected: a string in quotes or ")"'),
    ("capture { parse_sip() }", '1:23: "}" cannot stand here; expected: ";"'),
    ("capture {\n  if (parse_sip() { drop; }\n}", '2:19: "{" cannot stand here; expected: ")"'),
    ("captur { }", '1:1: "captur" cannot stand here; expected: "capture" or "debug"'),
    ("capture { /* x", "1:11: this comment is not closed"),
    (
        "capture { drop; ",
        '1:16: the file ends here; expected: "drop", "break", "if", a function, "{" or "}"',
    ),
    ("capture { } }", '1:13: "}" cannot stand here; expected: "capture" or "debug"'),
    (
        "capture { if (a() && ) b(); }",
        '1:22: ")" cannot stand here; expected: a function, a number, "!" or "("',
    ),
    ("capture { else drop; }", '1:11: "else" cannot stand here'),
    ('capture { a("b" "c"); }', '1:17: "c" cannot stand here; expected: "," or ")"'),
    ("debug = x", '1:9: "x" cannot stand here; expected: a number'),
    ("", "1:1: there is no capture in this file"),
    ("capture[a] { drop; } capture[a] { }", '1:22: capture "a" stands in this file already'),
    ("capture {\n\n\tparse_sipp();\n}", '3:2: there is no function "parse_sipp"; did you mean "parse_sip"?'),
    ("capture { quux(); }", '1:11: there is no function "quux"'),
    ('capture { send_hep("nowhere"); }', '1:20: there is no target "nowhere"'),
    ('capture { send_hep("hepsockt"); }', '1:20: there is no target "hepsockt"; did you mean "hepsocket"?'),
    ("capture { send_hep(); }", "1:11: send_hep takes 1 to 2 arguments, not 0"),
    ('capture { parse_sip("x"); }', "1:11: parse_sip takes no arguments, not 1"),
    ('capture { msg_check("size"); }', "1:11: msg_check takes 2 arguments, not 1"),
    (
        'capture { msg_check("sise", "1"); }',
        '1:21: there is no key of msg_check "sise"; did you mean "size"?',
    ),
    ('capture { msg_check("size", "big"); }', '1:29: "big" is no size: a whole number from 0 to 1048576'),
    ('capture { msg_check("src_ip", "10.0.0.0/33"); }', '1:31: "10.0.0.0/33" is no address'),
    ('capture { msg_check("any_ip", "300."); }', '1:31: "300." is no address'),
    ('capture { msg_check("src_port", "70000"); }', '1:33: "70000" is no port'),
    ('capture { sip_check("response", "abc"); }', '1:33: "abc" is no status code'),
    ('capture { sip_check("method", "IN VITE"); }', '1:31: "IN VITE" is no SIP method'),
    ('capture { sip_check("from_user_prefix", ""); }', "1:41: this text is empty"),
    (
        'capture { header_regexp_match("From", "vop"); }',
        '1:39: there is no regular expression "vop"; did you mean',
    ),
    ('capture { header_regexp_match("body", "bad"); }', '1:39: the regular expression "bad" cannot be read'),
    ('capture { header_check("a b", "x"); }', '1:24: "a b" is no name of a header'),
    ('capture { send_hep_proto("other", "256"); }', '1:35: "256" is no HEP type'),
    ('capture { sample("120%"); }', '1:18: "120%" is no share'),
    ('capture { sample("1/0"); }', '1:18: "1/0" is no share'),
    ('capture { rate_limit("fast"); }', '1:22: "fast" is no rate'),
    ('capture { rate_limit("0/s"); }', '1:22: "0/s" is no rate'),
    ('capture { rate_limit("1/s", "user"); }', '1:29: there is no key of rate_limit "user"'),
    ('capture { dedup("1h"); }', '1:17: "1h" is no time'),
    ('capture { remove_header("Call-ID"); }', "1:25: without Call-ID the message could not be read"),
    ('capture { remove_header("i"); }', "1:25: without i the message could not be read"),
    ('capture { set_header("l", "3"); }', "1:22: Content-Length says where a message ends"),
    ('capture { set_header("X", "a\\r\\nb"); }', "1:27: a header's value has neither line ends"),
    ('capture { anonymise("names"); }', '1:21: there is no kind of pseudonym "names"'),
    ('capture { anonymise("all", "secret"); }', '1:28: "secret" names no key'),
    ('capture { anonymise("all", "env:HEPCAT_NO_SUCH"); }', "1:28: the key in HEPCAT_NO_SUCH is shorter"),
    (
        'capture { anonymise("all", "file:/nowhere/key"); }',
        "1:28: cannot read the key from /nowhere/key: No such",
    ),
    ('capture { set_tag("a;b", "c"); }', '1:19: "a;b" is no key of a tag'),
    ('capture { set_tag("a", "c;d"); }', "1:24: a tag's value has no ;"),
    ('capture { is_response_class("7xx"); }', '1:29: "7xx" is no class of responses'),
    ('capture { send_reply("99", "x"); }', '1:22: "99" is no status code'),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(HepcatError) as caught:
        compile_plan(text, "test.cfg", ["hepsocket", "other"], {"vip": "x", "bad": "(("})
    assert str(caught.value).startswith(f"test.cfg:{message}"), str(caught.value)


def test_hints_say_what_to_do() -> None:
    with pytest.raises(HepcatError) as caught:
        compile_plan('capture { send_hep("x"); }', "f", ["a", "b"], {})
    assert caught.value.hint == 'Targets of the configuration: "a", "b".'
    with pytest.raises(HepcatError) as caught:
        compile_plan("capture { send_hep(); }", "f", ["a"], {})
    assert caught.value.hint == 'It is written send_hep(target[, wait]), for instance send_hep("hepsocket")'


WARNINGS = [
    ('capture {\n drop;\n send_hep("other");\n}', "3:2: what stands after drop never runs"),
    (
        "capture { check_redis_rtcp_ipport(); }",
        "1:11: check_redis_rtcp_ipport uses the table of this process",
    ),
    ("capture { is_redis_rtcp_exist(); }", "1:11: is_redis_rtcp_exist uses the table of this process"),
    ('capture { header_check("custom", "x"); }', '1:24: "custom" means the configuration'),
    ('capture { sip_check("method", "invite"); }', "1:31: methods are told by their case"),
    ('capture { dedup("2s"); }', "1:17: SIP sends again after 500 ms"),
    ('capture { clog("LOUD", "x"); }', '1:16: "LOUD" is logged as debug'),
    (
        'capture { is_method("INVIET"); }',
        '1:21: "INVIET" is no registered method of SIP; did you mean "INVITE"?',
    ),
    ('capture { header_regexp_match("body", "slow"); }', '1:39: the regular expression "slow" has a repeat'),
    ('capture { set_header("From", "x"); }', "1:22: From is set alike in all messages"),
]


@pytest.mark.parametrize(("text", "warning"), WARNINGS)
def test_warnings(text: str, warning: str) -> None:
    plan = compile_plan(text, "w.cfg", ["other"], {"slow": "(a+)+b"})
    assert len(plan.warnings) == 1
    assert plan.warnings[0].startswith(f"w.cfg:{warning}")


def nested(levels: int) -> str:
    return "capture { " + "if (parse_sip()) { " * levels + 'send_hep("hepsocket");' + " }" * levels + " }"


def test_200_nested_blocks_run() -> None:
    made = bench(nested(200))
    made.run(sip(), b"\x00\x01")
    assert made.sent == [0]


@pytest.mark.parametrize("levels", [MAX_DEPTH // 2, MAX_DEPTH * 5])
def test_deeper_is_an_error_not_a_crash(levels: int) -> None:
    with pytest.raises(HepcatError, match=f"test.cfg:1:[0-9]+: more than {MAX_DEPTH} levels"):
        bench(nested(levels))


@pytest.mark.parametrize("many", [5000])
def test_long_is_not_deep(many: int) -> None:
    chain = "if (is_tcp()) drop; else " * many + 'send_hep("hepsocket");'
    negated = "!" * (2 * many)
    braces = "(" * many + "parse_sip()" + ")" * many
    terms = " || ".join(["is_tcp()"] * many)
    made = bench(f"capture {{ if ({negated}{braces} && !({terms})) {{ {chain} }} }}")
    made.run(sip())
    assert made.sent == [0]
    alternating = (
        "capture { if (" + "!(parse_sip() && " * (MAX_DEPTH // 4) + "0" + ")" * (MAX_DEPTH // 4) + ") drop; }"
    )
    bench(alternating).run(sip())


def test_what_a_plan_needs_is_told() -> None:
    plan = bench(
        'capture { if (is_rtcp() && is_rtcp_exist()) send_hep("other"); header_check("v", "x"); }'
    ).plan
    assert plan.functions == {"is_rtcp", "is_rtcp_exist", "send_hep", "header_check"}
    assert plan.headers == ("via",)
    assert plan.targets == {"other"}
    assert not plan.reads_addresses
    assert bench('capture { sip_check("from_user_prefix", "49"); }').plan.reads_addresses


def test_lark_is_loaded_by_compiling_alone() -> None:
    import subprocess
    import sys

    code = "import sys, hepcat.plans.compiler as c; c.functions(); print('lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
