"""Text of a capture plan to its tree.

In: the text of a file of at most MAX_OCTETS characters, and its name for messages. Out: `PlanFile`
(ast.py). What can go wrong: PlanError, with line and column, what stands there and what may stand there.
Nothing recurses over the nesting of a plan, so its depth is bounded by MAX_DEPTH alone, never by the stack.
"""

import functools
import re
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from hepcat.plans.ast import (
    And,
    Argument,
    Block,
    Call,
    Capture,
    Condition,
    End,
    If,
    Not,
    Number,
    Or,
    PlanFile,
    Position,
    Statement,
)
from hepcat.plans.errors import PlanError

if TYPE_CHECKING:
    from lark import Lark, Token
    from lark.exceptions import UnexpectedInput

MAX_LENGTH: Final = 1 << 20
MAX_DEPTH: Final = 1000
END: Final = "the end of the file"

#: What the grammar's terminals are called in messages; those that mean little to a reader are left out.
WORDS: Final[dict[str, str]] = {
    "CAPTURE": "capture",
    "DROP": "drop",
    "BREAK": "break",
    "IF": "if",
    "ELSE": "else",
    "NAME": "a function",
    "STRING": "a string in quotes",
    "NUMBER": "a number",
    "DEBUG": "debug",
    "_NOT": "!",
    "_AND": "&&",
    "_OR": "||",
    "_EQUAL": "=",
    "_COMMA": ",",
    "_SEMICOLON": ";",
    "_LPAREN": "(",
    "_RPAREN": ")",
    "_LBRACKET": "[",
    "_RBRACKET": "]",
    "_LBRACE": "{",
    "RBRACE": "}",
}
_SKIP: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|/\*|\*/', re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "\\": "\\", '"': '"'}


def parse_plan(text: str, source: str) -> PlanFile:
    """Return the tree of a plan file. Raises PlanError."""
    from lark.exceptions import UnexpectedInput

    text = text.removeprefix("\ufeff")  # what some editors put in front
    if len(text) > MAX_LENGTH:
        raise PlanError(source, Position(1, 1), f"the file is longer than {MAX_LENGTH} characters")
    plain = _without_comments(text, source)
    try:
        tree: Any = _grammar().parse(plain)
    except UnexpectedInput as error:
        raise _explain(plain, source, error) from None
    except _TooDeep as error:
        message = f"more than {MAX_DEPTH} levels of blocks and conditions within one another"
        raise PlanError(source, error.position, message) from None
    captures, debug = tree
    return PlanFile(captures, debug)


@functools.cache
def _grammar() -> "Lark":
    """Build the parser, once a process. The transformer runs while parsing: there is no tree to walk."""
    from lark import Lark, Transformer

    methods = {name: _method(function) for name, function in _RULES.items()}
    text = resources.files("hepcat.plans").joinpath("capture.lark").read_text(encoding="utf-8")
    builder: Any = type("Builder", (Transformer,), methods)
    return Lark(
        text,
        parser="lalr",
        lexer="contextual",
        transformer=builder(visit_tokens=False),
        maybe_placeholders=False,
    )


def _method(function: Any) -> Any:
    return lambda self, children: function(children)


class _TooDeep(Exception):
    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position = position


def _without_comments(text: str, source: str) -> str:
    """Return the text with each comment as white space, so that positions stay. Comments may nest."""
    out: list[str] = []
    done = depth = opened = 0
    for match in _SKIP.finditer(text):
        if match.start() < done:
            continue
        word = match[0]
        if word == "/*":
            if depth == 0:
                out.append(text[done : match.start()])
                opened = match.start()
            depth += 1
        elif word == "*/":
            if depth == 0:
                continue  # the parser will say that nothing like this may stand here
            depth -= 1
            if depth == 0:
                out.append(re.sub(r"[^\n]", " ", text[opened : match.end()]))
                done = match.end()
        elif word[0] == "#" and depth == 0:
            out.append(text[done : match.start()] + " " * len(word))
            done = match.end()
    if depth:
        raise PlanError(
            source, _position_at(text, opened), "this comment is not closed", "Write */ after it."
        )
    out.append(text[done:])
    return "".join(out)


def _position_at(text: str, offset: int) -> Position:
    line = text.count("\n", 0, offset) + 1
    return Position(line, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def _position(token: "Token") -> Position:
    return Position(token.line or 1, token.column or 1)


# ---- the rules of the grammar, by name: children in, node out


def _start(children: list[Any]) -> tuple[tuple[Capture, ...], int | None]:
    captures = tuple(child for child in children if isinstance(child, Capture))
    debug = [child for child in children if isinstance(child, int)]
    return captures, debug[-1] if debug else None


def _debug(children: list[Any]) -> int:
    return int(children[1])


def _capture(children: list[Any]) -> Capture:
    name = "" if len(children) == 2 else _name(children[1])
    return Capture(name, children[-1], _position(children[0]))


def _name(token: "Token") -> str:
    return str(token) if token.type == "NAME" else _unquote(token)


def _block(children: list[Any]) -> Block:
    statements = tuple(child for child in children[:-1] if child is not None)
    return Block(statements, _deeper(statements, _position(children[-1])))


def _nothing(children: list[Any]) -> None:
    return None


def _call(children: list[Any]) -> Call:
    arguments = tuple(Argument(_unquote(token), _position(token)) for token in children[1:])
    return Call(str(children[0]), arguments, _position(children[0]))


def _unquote(token: "Token") -> str:
    inner = str(token)[1:-1]
    if token[0] == "'":
        return inner
    # an escape that is none stays as it stands: "\." and "\d" are for regular expressions
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), inner)


def _ending(children: list[Any]) -> End:
    return End(str(children[0]), _position(children[0]))


def _branching(children: list[Any]) -> If:
    position = _position(children[0])
    condition, then = children[1], children[2]
    otherwise: Statement | None = children[4] if len(children) > 3 else None
    depth = _deeper((condition, then), position)
    if isinstance(otherwise, If):  # a chain of `else if` is as deep as its deepest part
        depth = max(depth, otherwise.depth)
    elif otherwise is not None:
        depth = max(depth, _deeper((otherwise,), position))
    return If(condition, then, otherwise, position, depth)


def _any_of(children: list[Condition]) -> Condition:
    return Or(tuple(children), _deeper(children)) if len(children) > 1 else children[0]


def _all_of(children: list[Condition]) -> Condition:
    return And(tuple(children), _deeper(children)) if len(children) > 1 else children[0]


def _negate(children: list[Any]) -> Condition:
    term: Condition = children[0]
    return term.term if isinstance(term, Not) else Not(term, _deeper((term,)))


def _number(children: list[Any]) -> Number:
    # only whether it is 0 counts, so digits without end need not be read as a number
    return Number(1 if str(children[0]).strip("0") else 0, _position(children[0]))


def _yes(children: list[Any]) -> Number:
    return Number(1, _position(children[0]))


def _no(children: list[Any]) -> Number:
    return Number(0, _position(children[0]))


def _deeper(nodes: Any, position: Position | None = None) -> int:
    """Return the depth of what holds these nodes. Raises _TooDeep."""
    depth = 1 + max((node.depth for node in nodes), default=0)
    if depth > MAX_DEPTH:
        raise _TooDeep(position or _first_position(nodes))
    return int(depth)


def _first_position(nodes: Any) -> Position:
    """Return where the first of these conditions stands, going down its left side."""
    node = nodes[0]
    while not isinstance(node, Call | Number):
        node = node.term if isinstance(node, Not) else node.terms[0]
    return Position(*node.position)


_RULES: Final[dict[str, Any]] = {
    "start": _start,
    "debug": _debug,
    "capture": _capture,
    "block": _block,
    "nothing": _nothing,
    "call": _call,
    "ending": _ending,
    "branching": _branching,
    "any_of": _any_of,
    "all_of": _all_of,
    "negate": _negate,
    "number": _number,
    "yes": _yes,
    "no": _no,
}


# ---- errors


def _explain(text: str, source: str, error: "UnexpectedInput") -> PlanError:
    """Say in words what lark found out, and where."""
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    if isinstance(error, UnexpectedCharacters):
        position = Position(error.line, error.column)
        allowed = set(error.allowed or ())
        found = _found_at(text, error.pos_in_stream or 0)
        if text[error.pos_in_stream or 0] in ('"', "'"):
            return PlanError(source, position, "the closing quote of this string is missing on its line")
    elif isinstance(error, UnexpectedToken):
        token = error.token
        allowed = set(error.accepts or error.expected)
        if token.type == "$END":
            position, found = _position_at(text, len(text.rstrip())), END
        else:
            position, found = _position(token), str(token) if token[0] in "\"'" else f'"{token}"'
    else:  # pragma: no cover - LALR raises no other
        return PlanError(source, Position(1, 1), str(error))
    what = "the file ends here" if found == END else f"{found} cannot stand here"
    return PlanError(source, position, f"{what}; {_expected(allowed)}", _hint(allowed, found))


def _found_at(text: str, offset: int) -> str:
    match = re.match(r"\w+|\S", text[offset:])
    return f'"{match[0]}"' if match else END


def _expected(allowed: set[str]) -> str:
    if allowed & {"CAPTURE", "DROP"}:  # an empty statement may stand there too, but nobody means one
        allowed = allowed - {"_SEMICOLON"}
    words = [word for name, word in WORDS.items() if name in allowed]
    words = [word if word.startswith("a ") else f'"{word}"' for word in words]
    if not words:
        return "nothing more is expected"
    return f"expected: {', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else f"expected: {words[0]}"


def _hint(allowed: set[str], found: str) -> str:
    if "STRING" in allowed and "_LPAREN" not in allowed:
        return 'Arguments are strings in quotes: send_hep("hepsocket").'
    if found == END and "RBRACE" in allowed:
        return "A } is missing: count the braces."
    if "_SEMICOLON" in allowed and not allowed & {"CAPTURE", "DROP"}:
        return "A statement ends with a semicolon."
    return ""
