"""The MI FIFO: what `kamctl fifo` of OpenSER and Kamailio 3 wrote to.

In: `:command:reply_name`, a line an argument (`value`, `name::value`, `"quoted"`), and an empty line. Out, on
the FIFO reply_name of the reply folder: `code reason`, lines of the result, and an empty line. What can go
wrong: the request cannot be parsed (answered, where it names whom); no answer can be given (then nothing is
carried out).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from hepcat.control.fifo import Fifo, FifoDoor, open_reply
from hepcat.control.methods import METHODS, Control, MethodError, call_method
from hepcat.control.pace import Seldom

#: Octets of a command's line, and of an argument's.
MAX_COMMAND: Final = 1024
MAX_ARGUMENT: Final = 8192
#: Arguments of a command.
MAX_ARGUMENTS: Final = 32
#: Characters of a command's name that an error repeats.
_REPEATED: Final = 64

_COMMAND: Final = re.compile(rb":([^:]*):(.*)", re.DOTALL)
_NAMED: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)::(.*)", re.DOTALL)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

#: What an error does not repeat: an answer must not be a request to somebody else.
_ODD: Final = re.compile(r"[^A-Za-z0-9_.-]")

log = structlog.get_logger("hepcat.control")


@dataclass(slots=True)
class MiRequest:
    """A command with its lines. broken: some of them cannot be meant."""

    command: str
    reply: str
    lines: list[bytes] = field(default_factory=list)
    broken: bool = False


class MiParser:
    """Octets to requests. It holds a line, and the arguments of one command."""

    patience = 10.0  # some people type their commands

    def __init__(self) -> None:
        self._line = bytearray()
        self._endless = False  # within a line that is too long
        self._request: MiRequest | None = None

    @property
    def half(self) -> bool:
        """Whether it holds a part of a request."""
        return bool(self._line) or self._endless or self._request is not None

    def reset(self) -> None:
        """Forget what is half."""
        self._line.clear()
        self._endless, self._request = False, None

    def feed(self, octets: bytes) -> list[MiRequest]:
        """Take octets, return the requests that are whole."""
        whole: list[MiRequest] = []
        *lines, rest = octets.split(b"\n")
        for line in lines:
            self._gather(line)
            self._end_line(whole)
        self._gather(rest)
        return whole

    def _gather(self, octets: bytes) -> None:
        if self._endless or len(self._line) + len(octets) > MAX_ARGUMENT:
            self._line.clear()
            self._endless = True
        else:
            self._line += octets

    def _end_line(self, whole: list[MiRequest]) -> None:
        line, endless = bytes(self._line).rstrip(), self._endless
        self._line.clear()
        self._endless = False
        request = self._request
        begins = _begin(line)
        if begins is not None:
            if request is not None:  # its empty line never came: its writer has died
                request.broken = True
                whole.append(request)
            self._request = begins
        elif request is None:
            return  # between requests: an empty line, or what belongs to none
        elif not line and not endless:
            whole.append(request)
            self._request = None
        elif endless or len(request.lines) == MAX_ARGUMENTS:
            request.broken = True
        else:
            request.lines.append(line)


def _begin(line: bytes) -> MiRequest | None:
    """Return the request that this line begins, None where it begins none."""
    if len(line) > MAX_COMMAND or not line.startswith(b":"):
        return None
    match = _COMMAND.fullmatch(line)
    if match is None:
        return None
    command, reply = match[1].decode("utf-8", "replace"), match[2].decode("utf-8", "replace")
    return MiRequest(command.strip(), reply)


def parse_argument(line: bytes) -> tuple[str | None, str]:
    """Return (name or None, value). Raises ValueError."""
    text = line.decode("utf-8").strip()
    if _CONTROL.search(text):
        raise ValueError("control characters")
    name = None
    if match := _NAMED.fullmatch(text):
        name, text = match[1], match[2].strip()
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise ValueError("no end of the quotes")
        text = _ESCAPED.sub(r"\1", quoted[1])
    return name, text


def answer(request: MiRequest, control: Control) -> str:
    """Carry a command out and return what its reply says."""
    shown = _ODD.sub("?", request.command[:_REPEATED])
    if request.command != "which" and request.command not in METHODS:
        return f"500 command '{shown}' not available\n"
    try:
        arguments = [parse_argument(line) for line in request.lines]
    except ValueError:
        request.broken = True
    if request.broken:
        return f"400 parse error in command '{shown}'\n"
    if request.command == "which":
        return "".join(["200 OK\n", *(f"{name}\n" for name in (*METHODS, "which")), "\n"])
    try:
        result = call_method(control, request.command, _by_name(request.command, arguments))
    except MethodError as error:
        if error.fault == "parameter":
            return "400 Bad parameter\n\n"
        return f"500 {_CONTROL.sub(' ', str(error))}\n\n"
    return "".join(["200 OK\n", *_result(request.command, arguments, result), "\n"])


def _by_name(command: str, arguments: list[tuple[str | None, str]]) -> dict[str, str]:
    """Give the arguments without a name the names of the parameters that are left, in order."""
    named = {name: value for name, value in arguments if name is not None}
    free = [p.name for p in METHODS[command].parameters if p.name not in named]
    plain = [value for name, value in arguments if name is None]
    if len(plain) > len(free) or len(named) + len(plain) < len(arguments):
        raise MethodError("parameter", "too many parameters")
    return {**named, **dict(zip(free, plain, strict=False))}


def _result(command: str, arguments: list[tuple[str | None, str]], result: Mapping[str, Any]) -> list[str]:
    if command != "sip_capture":
        return _flat(result, "")
    asked = all(name == "source" for name, _ in arguments)  # of a source, or of all: nothing was switched
    return [f"{'on' if result['on'] else 'off'}\n"] if asked else []


def _flat(value: Any, name: str) -> list[str]:
    """Return a tree of values as lines `path.to.value:: value`."""
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list | tuple):
        pairs = enumerate(value)  # type: ignore[assignment]
    else:
        shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        return [f"{name}:: {_CONTROL.sub(' ', shown)}\n"]
    return [line for key, inner in pairs for line in _flat(inner, f"{name}.{key}" if name else str(key))]


def mi_door(fifo: Fifo, reply_folder: Path, control: Control) -> FifoDoor:
    """Return the door of a FIFO."""

    refused = Seldom(log)

    def serve(request: MiRequest) -> None:
        reply = open_reply(reply_folder, request.reply, fifo)
        if reply is None:  # without an answer nothing is carried out
            refused.warning("MI command without a FIFO to answer on", command=request.command[:_REPEATED])
            return
        reply.send(answer(request, control).encode())

    return FifoDoor(fifo, MiParser(), serve)
