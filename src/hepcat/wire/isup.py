"""ISUP (ITU-T Q.763) to JSON, in captagent's fields. No I/O, no clock, no log.

In: a batch and rows of it that carry ISUP in M3UA, M2UA or M2PA (wire/m3ua.py). Out: a `Patch` with one
JSON object each, and one with correlation ids `opc:dpc:cic`, the smaller point code first, so that both
directions of a circuit have the same. What can go wrong: a row that is no ISUP stays as it is; parameters
that cannot be read end the message, "truncated": true then says that something is missing.

    {"cic", "msg_type", "msg_name", "nature_of_connnection": {...}, "forward_call": {...},
     "calling_party": {"num", "name"}, "transmission_medium": {"num", "name"},
     "called_number": {"inn", "inn_name", "ton", "ton_name", "npi", "npi_name", "num"},
     "calling_number": {"ni", "ni_name", "restrict", ..., "screened", ..., "ton", ..., "num"},
     "cause": {...}, "event": {...}, "hop_counter", "user_information": {...},
     "parameters": [{"type", "name", "hex"}], "opc", "dpc", "si", "ni", "sls"}

The three n of nature_of_connnection are captagent's: its readers look for them. An answer is ANM (Q.763
table 4), where captagent writes AMN.
"""

from collections.abc import Callable
from typing import Any

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.wire import isup_names as names
from hepcat.wire.json_text import Array, patch_rows, to_json
from hepcat.wire.m3ua import SI_ISUP, isup_mask, read_mtp3

__all__ = ["isup_mask", "isup_to_json", "read_isup"]

_DIGITS = "0123456789ABCDEF"


def isup_to_json(batch: Batch, rows: Array, sid: bool = True) -> tuple[Patch, Patch | None]:
    """Write the ISUP messages of `rows` as JSON; with `sid`, their correlation ids as well.

    rows: int64. Both patches have batch.n rows, offset -1 for what is no ISUP.
    """
    payload = patch_rows(batch, rows, _payload)
    return payload, patch_rows(batch, rows, _correlation) if sid else None


def read_isup(message: bytes) -> dict[str, Any] | None:
    """Read one message of M3UA, M2UA or M2PA; None where there is no ISUP in it."""
    mtp3 = read_mtp3(message)
    if mtp3 is None or mtp3.si != SI_ISUP or len(mtp3.data) < 3:
        return None
    data = mtp3.data
    out: dict[str, Any] = {"cic": _cic(data), "msg_type": data[2]}
    message_type = names.MESSAGES.get(data[2])
    out["msg_name"] = message_type.name if message_type else "Unknown"
    if message_type is None:
        out["parameters"] = [{"hex": data[3:].hex()}]
    elif not _read_parameters(out, message_type, data[3:]):
        out["truncated"] = True
    out.update(opc=mtp3.opc, dpc=mtp3.dpc, si=mtp3.si, ni=mtp3.ni, sls=mtp3.sls)
    return out


def _payload(message: bytes) -> bytes | None:
    value = read_isup(message)
    return None if value is None else to_json(value, ("parameters",))


def _correlation(message: bytes) -> bytes | None:
    mtp3 = read_mtp3(message)
    if mtp3 is None or mtp3.si != SI_ISUP or len(mtp3.data) < 3:
        return None
    low, high = sorted((mtp3.opc, mtp3.dpc))
    return f"{low}:{high}:{_cic(mtp3.data)}".encode()


def _cic(data: bytes) -> int:
    """Circuit identification code, the octet of less weight first (Q.763 section 1.2)."""
    return data[0] | data[1] << 8


def _read_parameters(out: dict[str, Any], message: names.Message, data: bytes) -> bool:
    """Fixed parameters, variable ones by pointers, then optional ones (Q.763 section 1.4 to 1.7)."""
    at = 0
    for code, length in message.fixed:
        if length > len(data) - at:
            return False
        _tell(out, code, data[at : at + length])
        at += length
    for code in message.variable:
        value = _at_pointer(data, at)
        if value is None:
            return False
        _tell(out, code, value)
        at += 1
    return _read_optional(out, data, at) if message.optional else True


def _at_pointer(data: bytes, at: int) -> bytes | None:
    """The value that the pointer at `at` leads to: a length, then so many octets."""
    if at >= len(data) or data[at] == 0:
        return None
    begin = at + data[at]
    if begin >= len(data) or data[begin] > len(data) - begin - 1:
        return None
    return data[begin + 1 : begin + 1 + data[begin]]


def _read_optional(out: dict[str, Any], data: bytes, at: int) -> bool:
    """Code, length, value, until a code of 0; a pointer of 0 says that there are none."""
    if at >= len(data):  # messages without any may leave the pointer out, too
        return True
    if data[at] == 0:
        return True
    at += data[at]
    while at < len(data) and data[at] != 0:
        if len(data) - at < 2 or data[at + 1] > len(data) - at - 2:
            return False
        _tell(out, data[at], data[at + 2 : at + 2 + data[at + 1]])
        at += 2 + data[at + 1]
    return at < len(data)


def _tell(out: dict[str, Any], code: int, value: bytes) -> None:
    """Add one parameter; the first of a kind under its own key, everything else to the list."""
    key, told = _FORMS[code](value) if code in _FORMS else ("", None)
    if code in names.NUMBERS:
        key, told = names.NUMBERS[code], _number(code, value)
    if told is not None and key not in out:
        out[key] = told
        return
    name = names.PARAMETERS.get(code) or names.NUMBERS.get(code) or f"parameter {code}"
    out.setdefault("parameters", []).append({"type": code, "name": name, "hex": value.hex()})


def _named(key: str, number: int, table: dict[int, str]) -> dict[str, Any]:
    return {key: number, f"{key}_name": table.get(number, "Unknown")}


def _number(code: int, value: bytes) -> dict[str, Any] | None:
    """A number with its natures (Q.763 sections 3.9, 3.10, 3.26, 3.30)."""
    out: dict[str, Any] = {}
    if code == names.GENERIC_NUMBER:
        out["qualifier"] = value[0] if value else 0
        value = value[1:]
    if len(value) < 2:
        return None
    if code in names.WITH_INN:
        out.update(_named("inn", value[1] >> 7, names.INN))
    if code in names.WITH_INCOMPLETE:
        out.update(_named("ni", value[1] >> 7, names.INCOMPLETE))
    if code in names.WITH_RESTRICTION:
        out.update(_named("restrict", value[1] >> 2 & 3, names.RESTRICTIONS))
    if code in names.WITH_SCREENING:
        out.update(_named("screened", value[1] & 3, names.SCREENINGS))
    out.update(_named("ton", value[0] & 0x7F, names.NATURES))
    out.update(_named("npi", value[1] >> 4 & 7, names.PLANS))
    out["num"] = _digits(value[2:], value[0] >> 7 == 1)
    return out


def _digits(octets: bytes, odd: bool) -> str:
    """Address signals, the lower half of an octet first; an odd number of them leaves the last half out."""
    text = "".join(_DIGITS[octet & 15] + _DIGITS[octet >> 4] for octet in octets)
    return text[:-1] if odd else text


def _subsequent(value: bytes) -> tuple[str, Any]:
    told = {"num": _digits(value[1:], value[0] >> 7 == 1)} if len(value) >= 2 else None
    return "subsequent_number", told


def _bits(value: bytes, layout: tuple[tuple[str, int, dict[int, str]], ...]) -> dict[str, Any] | None:
    """Indicators that stand bit by bit, A to H in the first octet, I to P in the second."""
    if len(value) != 2:
        return None
    bits = value[0] | value[1] << 8
    out: dict[str, Any] = {}
    for key, width, table in layout:
        out.update(_named(key, bits & ((1 << width) - 1), table))
        bits >>= width
    return out


def _connection(value: bytes) -> tuple[str, Any]:
    if len(value) != 1:
        return "", None
    out = _named("satellite", value[0] & 3, names.SATELLITES)
    out.update(_named("continuity_check", value[0] >> 2 & 3, names.CONTINUITY))
    out.update(_named("echo_device", value[0] >> 4 & 1, names.ECHO))
    return "nature_of_connnection", out


def _numbered(key: str, table: dict[int, str]) -> Callable[[bytes], tuple[str, Any]]:
    def form(value: bytes) -> tuple[str, Any]:
        return key, {"num": value[0], "name": table.get(value[0], "Unknown")} if len(value) == 1 else None

    return form


def _cause(value: bytes) -> tuple[str, Any]:
    """Cause indicators (Q.850 section 2.2); octet 1a, the recommendation, may stand before the value."""
    extended = bool(value) and value[0] & 0x80 == 0
    if len(value) < 2 + extended:
        return "", None
    standard, cause = value[0] >> 5 & 3, value[1 + extended]
    out = {"standard_num": standard, "standard_name": names.STANDARDS[standard]}
    location = value[0] & 15
    out.update(location_num=location, location_name=names.LOCATIONS.get(location, "Unknown"))
    if standard == 0:
        out["itu_class_name"] = names.CAUSE_CLASSES[cause >> 4 & 7]
        out["itu_class_num"] = cause >> 4 & 7
        out["itu_cause_name"] = names.CAUSES.get(cause & 0x7F, "Unknown")
        out["itu_cause_num"] = cause & 0x7F
    return "cause", out


def _event(value: bytes) -> tuple[str, Any]:
    if not value:
        return "", None
    told = {
        "event_num": value[0],
        "event_str": names.EVENTS.get(value[0] & 0x7F, "spare"),
        "presentation_str": "presentation restricted" if value[0] & 0x80 else "no indication",
    }
    return "event", told


def _bearer(value: bytes) -> tuple[str, Any]:
    """User service information: octets 3 and on of a bearer capability (ITU-T Q.931 section 4.5.5)."""
    multirate = len(value) >= 2 and value[1] & 0x1F == 0x18
    if len(value) < 2:
        return "", None
    standard = value[0] >> 5 & 3
    parts: list[tuple[str, int, dict[int, str]]] = [
        ("transfer_capability", value[0] & 0x1F, names.TRANSFER_CAPABILITIES),
        ("transfer_mode", value[1] >> 5 & 3, names.TRANSFER_MODES),
        ("transfer_rate", value[1] & 0x1F, names.TRANSFER_RATES),
    ]
    out = _named("coding_standard", standard, names.CODING_STANDARDS)
    if multirate and len(value) >= 3:
        out["rate_multiplier"] = value[2] & 0x7F
    layer1 = value[2 + multirate :]
    if layer1:
        out["layer1_ident"] = layer1[0] >> 5 & 3
        parts.append(("layer1_protocol", layer1[0] & 0x1F, names.LAYER1_PROTOCOLS))
    for key, number, table in parts:
        out.update(_named(key, number, table) if standard == 0 else {key: number})
    return "user_information", out


#: How parameters are told, but for numbers: key and value; None where it does not fit its own length.
_FORMS: dict[int, Callable[[bytes], tuple[str, Any]]] = {
    names.SUBSEQUENT_NUMBER: _subsequent,
    names.NATURE_OF_CONNECTION: _connection,
    names.FORWARD_CALL: lambda value: ("forward_call", _bits(value, names.FORWARD)),
    names.BACKWARD_CALL: lambda value: ("backward_call", _bits(value, names.BACKWARD)),
    names.CALLING_CATEGORY: _numbered("calling_party", names.CATEGORIES),
    names.TRANSMISSION_MEDIUM: _numbered("transmission_medium", names.MEDIA),
    names.CAUSE: _cause,
    names.EVENT: _event,
    names.HOP_COUNTER: lambda value: ("hop_counter", value[0] & 0x1F if value else None),
    names.USER_SERVICE: _bearer,
}
