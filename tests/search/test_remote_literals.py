"""Words that a match must hold: never one that a match does without."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.search import literals
from hepcat.search.ast import Wild

PIECES = (
    "sip", "bob", "A.c", "x*", "ab?", "(foo|bar)", "(?:one)+", "(two){0,3}", "[a-z]", "\\d+", "^", "$", ".*",
    "é", "(?i)UP", "a{2}", "b{,2}", "\\.", "\\\\", "|", "\\x41", "(?P<n>Q)", "[^x]", "\\bw", "k",
    "\\Qa.b\\E", "[[:alpha:]]z",
)  # fmt: skip
TEXTS = ("sipbob", "aXc", "foo", "BARonetwo", "aaab{,2}", "a.b", "\\", "upUP", "Aé", "", "zz9.q", "Q w bob k")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=5),
    st.lists(st.sampled_from((*TEXTS, *PIECES)), min_size=1, max_size=6),
)
def test_every_match_holds_them(pieces: list[str], texts: list[str]) -> None:
    pattern, text = "".join(pieces), "".join(texts)
    try:
        matched = pc.match_substring_regex(pa.array([text]), pattern)[0].as_py()
    except pa.ArrowInvalid:
        return  # RE2 refuses it, so nobody asks
    if matched:
        for word in literals.of_regex(pattern):
            assert word.lower() in text.lower(), (pattern, text, word)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("^INVITE sip:", ["INVITE sip:"]),
        ("foo|bar", []),
        ("(foo|bar)baz", ["baz"]),
        ("a(bc)+d?ef", ["bc", "ef"]),
        ("[[:digit:]]{3} OK", []),
        ("jür(gen)", ["gen"]),
        ("(", []),
    ],
)
def test_words_of_a_regular_expression(pattern: str, words: list[str]) -> None:
    assert literals.of_regex(pattern) == words


def test_patterns_become_plain() -> None:
    assert literals.plain(("a", Wild.ANY, "b")) == (("a", Wild.ANY, "b"), True)
    assert literals.plain(("a", Wild.ONE, "b")) == (("a", Wild.ANY, "b"), False)
    assert literals.plain(("gröé",)) == (("gr", Wild.ANY), False)
    assert literals.plain(("a", Wild.ANY, "é", Wild.ONE)) == (("a", Wild.ANY), False)
