"""The JSON-RPC FIFO: what `kamctl rpc` of today's Kamailio writes to.

In: JSON-RPC 2.0 documents with a `reply_name`. Out: the answer, on the FIFO of that name in the reply folder,
spread over lines as kamctl's filter reads them. Errors are those of Kamailio 5.6, whose FIFO answers 500 to
whatever is wrong. What can go wrong: a document that is none is passed over; one that names a FIFO which
cannot be written to is not carried out.
"""

import json
from pathlib import Path
from typing import Any, Final

import structlog

from hepcat.control.fifo import Fifo, FifoDoor, open_reply
from hepcat.control.json_rpc import Documents, answer_request, read_document
from hepcat.control.methods import Control, MethodError, call_method
from hepcat.control.pace import Seldom

#: Kamailio's name for the method, and what `on` and `off` are called in its answers.
STATUS: Final = "sipcapture.status"
_WORDS: Final = {True: "Enabled", False: "Disabled"}
_CODE: Final = 500
#: Tries to open the answer's FIFO: kamctl starts its reader in the background, then writes at once.
_TRIES: Final = 12

log = structlog.get_logger("hepcat.control")


def sipcapture_status(control: Control, params: Any) -> str:
    """`sipcapture.status on|off|check`; a second parameter, which Kamailio has not, names a source."""
    wanted = "on, off or check"
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise MethodError("parameter", f"Not enough parameters ({wanted})")
    mode = params[0].lower()
    if mode not in ("on", "off", "check"):
        raise MethodError("parameter", f"Bad parameter ({wanted})")
    result = call_method(control, "sip_capture", [None if mode == "check" else mode, *params[1:]])
    return _WORDS[result["on"]]


def answer(document: Any, control: Control) -> bytes | None:
    """Carry a document out; None where there is nothing to answer."""

    def call(method: str, params: Any) -> Any:
        return (
            sipcapture_status(control, params) if method == STATUS else call_method(control, method, params)
        )

    # Kamailio answers requests without an id too.
    answer = answer_request({"id": None, **document}, call)
    if answer is None:
        return None
    if "error" in answer:
        unknown = answer["error"]["code"] == -32601
        message = "Method Not Found" if unknown else answer["error"]["message"]
        answer["error"] = {"code": _CODE, "message": message}
    if answer["id"] is None:
        del answer["id"]
    return json.dumps(answer, indent="\t").encode() + b"\n"


def rpc_door(fifo: Fifo, reply_folder: Path, control: Control) -> FifoDoor:
    """Return the door of a FIFO."""

    refused = Seldom(log)

    def serve(octets: bytes) -> None:
        try:
            document = read_document(octets)
        except ValueError:
            refused.warning("a JSON-RPC document that cannot be read was passed over", octets=len(octets))
            return
        name = document.get("reply_name")
        if name is None:
            answer(document, control)
            return
        reply = open_reply(reply_folder, name, fifo, _TRIES) if isinstance(name, str) else None
        if reply is None:
            method = str(document.get("method"))[:64]
            refused.warning("JSON-RPC without a FIFO to answer on", method=method)
            return
        octets = answer(document, control) or b""
        reply.send(octets)

    return FifoDoor(fifo, Documents(), serve)
