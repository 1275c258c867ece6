"""JSON-RPC 2.0 without any transport: documents in, documents out.

In: the octets of a document, what runs, and whether whoever asks may change anything. Out: the octets of the
answer, None where there is none to give. What can go wrong: everything that can is an error of the protocol.
`Documents` finds where documents end in a stream that says nothing about it.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from hepcat.control.methods import Control, Fault, MethodError, call_method

#: Octets of a document, what is nested within one another in it, and requests in a batch.
MAX_DOCUMENT: Final = 65_536
MAX_NESTING: Final = 16
MAX_BATCH: Final = 64

PARSE_ERROR: Final = -32700  # JSON-RPC 2.0 section 5.1
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
NOT_ALLOWED: Final = -32001  # -32000 to -32099: the server's own
FAILED: Final = -32000

_CODES: Final[dict[Fault, int]] = {
    "unknown": METHOD_NOT_FOUND,
    "parameter": INVALID_PARAMS,
    "right": NOT_ALLOWED,
    "failed": FAILED,
}
#: What matters for the end of a document: strings, where brackets mean nothing, and brackets.
_TOKEN: Final = re.compile(rb'["\\{}\[\]]')
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|([{\[])|([}\]])', re.DOTALL)

Call = Callable[[str, Any], Any]


def read_document(octets: bytes) -> Any:
    """Return a document's value. Raises ValueError, also where it is too large or too deep."""
    if len(octets) > MAX_DOCUMENT:
        raise ValueError("too large")
    depth = 0
    for token in _STRUCTURE.finditer(octets):
        depth += (token[1] is not None) - (token[2] is not None)
        if depth > MAX_NESTING:
            raise ValueError("nested too deeply")
    return json.loads(octets.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError("number too large")
    return number


def answer_document(octets: bytes, control: Control, may_change: bool) -> bytes | None:
    """Carry out what a document asks for, and return the answer."""

    def call(method: str, params: Any) -> Any:
        return call_method(control, method, params, may_change)

    try:
        document = read_document(octets)
    except ValueError as error:
        # A decoding error's own words would repeat what was sent.
        why = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).partition(": line")[0]
        return _encode(fault(None, PARSE_ERROR, f"cannot read the document: {why}"))
    if not isinstance(document, list):
        answer = answer_request(document, call)
        return None if answer is None else _encode(answer)
    if not document or len(document) > MAX_BATCH:
        return _encode(fault(None, INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} requests"))
    answers = [answer for answer in (answer_request(one, call) for one in document) if answer is not None]
    return _encode(answers) if answers else None


def answer_request(request: Any, call: Call) -> dict[str, Any] | None:
    """Carry out one request; None where it is a notification, which has no answer."""
    if not isinstance(request, dict):
        return fault(None, INVALID_REQUEST, "a request is an object")
    id_ = request.get("id")
    if isinstance(id_, bool) or not isinstance(id_, str | int | float | None):
        return fault(None, INVALID_REQUEST, "id has to be a text or a number")
    method, params = request.get("method"), request.get("params")
    if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
        return fault(id_, INVALID_REQUEST, 'a request has "jsonrpc": "2.0" and a method')
    try:
        result = call(method[:128], params)
    except MethodError as error:
        return _fault_of(error, id_) if "id" in request else None
    return {"jsonrpc": "2.0", "result": result, "id": id_} if "id" in request else None


def _fault_of(error: MethodError, id_: Any) -> dict[str, Any]:
    answer = fault(id_, _CODES[error.fault], str(error))
    if error.hint:
        answer["error"]["data"] = {"hint": error.hint}
    return answer


def fault(id_: Any, code: int, message: str) -> dict[str, Any]:
    """Return an answer that is an error."""
    return {"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id_}


def _encode(answer: Any) -> bytes:
    return json.dumps(answer).encode()


class Documents:
    """Finds JSON objects in octets without lines or lengths; what stands between them is passed over."""

    patience = 2.0  # seconds of silence after which half a document is to be forgotten

    def __init__(self) -> None:
        self._octets = bytearray()
        self._depth = 0
        self._quoted = False
        self._scanned = 0

    @property
    def half(self) -> bool:
        """Whether it holds a part of a document."""
        return self._depth > 0

    def reset(self) -> None:
        """Forget what is half."""
        self._octets.clear()
        self._depth = self._scanned = 0
        self._quoted = False

    def feed(self, octets: bytes) -> list[bytes]:
        """Take octets, return the objects that are whole."""
        whole: list[bytes] = []
        self._octets += octets
        while self._scan(whole):
            pass
        if len(self._octets) > MAX_DOCUMENT:
            self.reset()  # of what follows the next object that begins is read
        return whole

    def _scan(self, whole: list[bytes]) -> bool:
        """Go on to the next token; False where there is none yet."""
        held = self._octets
        if not self._depth:
            begin = held.find(b"{")
            if begin < 0:
                held.clear()
                self._scanned = 0
                return False
            del held[:begin]
            self._depth, self._scanned = 1, 1
        token = _TOKEN.search(held, self._scanned)
        if token is None:
            self._scanned = len(held)
            return False
        mark, at = token[0], token.start()
        if mark == b"\\" and self._quoted and at + 1 == len(held):
            self._scanned = at  # what it escapes has not come yet
            return False
        self._scanned = at + (2 if mark == b"\\" and self._quoted else 1)
        if mark == b'"':
            self._quoted = not self._quoted
        elif mark != b"\\" and not self._quoted:
            self._depth += 1 if mark in b"{[" else -1
            if not self._depth:
                whole.append(bytes(held[: at + 1]))
                del held[: at + 1]
                self._scanned = 0
        return True
