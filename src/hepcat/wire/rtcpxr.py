"""Voice quality reports: RTCP XR packets (RFC 3611), and reports in SIP messages (RFC 6035), to JSON.

In: a batch and rows of it. Out: masks that tell which rows are such reports; a `Patch` with one JSON object
each, and one with the Call-ID that a SIP report is about, as correlation id. What can go wrong: a row that
is no report stays as it is; lines that cannot be read are passed over.

Of RTCP XR, captagent's fields of the first block of VoIP metrics (RFC 3611 section 4.7), units as there:

    {"Extended_report_information": {"identifier", "loss_rate", "discard_rate", "burst_rate", "gap_rate",
     "burst_duration", "gap_duration", "round_trip_delay", "end_sys_delay", "signal_lev", "noise_lev", "RERL",
     "Gmin", "R_fact", "ext_R_fact", "MOS_LQ", "MOS_CQ", "RX_conf": [{"PLC", "JB_adapt", "JB_rate"}],
     "JB_nom", "JB_max", "JB_abs_max"}}

Of a report in SIP (PUBLISH or NOTIFY), its own names (RFC 6035 section 4.6), numbers as numbers:

    {"report": "VQSessionReport", "type": "CallTerm", "CallID", "LocalID", "RemoteID", "OrigID",
     "LocalAddr": {"IP", "PORT", "SSRC"}, "RemoteAddr": {...}, "DialogID",
     "LocalMetrics": {"Timestamps": {"START", "STOP"}, "JitterBuffer": {"JBA", ...}, "PacketLoss": {...},
     "BurstGapLoss": {...}, "Delay": {...}, "Signal": {...}, "QualityEst": {"MOSLQ", ...}},
     "RemoteMetrics": {...}}
"""

import re
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FLAG_REQUEST, HEP_SIP
from hepcat.wire.json_text import MAX_CORRELATION, Array, to_json, to_text
from hepcat.wire.rtcp import rtcp_xr_mask

Mask = npt.NDArray[np.bool_]

MAX_LINES: Final = 500

#: The kinds of reports (RFC 6035 section 4.6.1) and how their first line goes on.
_REPORT: Final = re.compile(
    rb"\s*(VQSessionReport|VQIntervalReport|VQAlertReport)\s*(?::\s*([^\r\n]*))?[\r\n]"
)
_TYPE: Final = b"application/vq-rtcpxr"
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
#: name=value, the value in quotes where it has spaces.
_PAIR: Final = re.compile(r'([A-Za-z][A-Za-z0-9-]*)=(?:"([^"]*)"|(\S*))')
_INTEGER: Final = re.compile(r"-?\d{1,15}")
_DECIMAL: Final = re.compile(r"-?\d{1,15}\.\d{1,15}")
#: Lines about the session; every other one behind LocalMetrics or RemoteMetrics is a metric.
_SESSION: Final = frozenset(
    [
        "CallID",
        "LocalID",
        "RemoteID",
        "OrigID",
        "LocalGroup",
        "RemoteGroup",
        "LocalAddr",
        "LocalMAC",
        "RemoteAddr",
        "RemoteMAC",
        "DialogID",
    ]
)
_SECTIONS: Final = ("LocalMetrics", "RemoteMetrics")
_METRICS: Final = struct.Struct("!I4B4HbB6BBB3H")  # RFC 3611 section 4.7, from the SSRC on
_XR: Final = 207
_VOIP_METRICS: Final = 7


def is_rtcpxr(batch: Batch, rows: Array) -> Mask:
    """Tell which of `rows` (int64) are RTCP with an extended report in it. Returns (len(rows),) bool."""
    mask = np.zeros(batch.n, dtype=np.uint8)
    rtcp_xr_mask(batch, mask)
    return mask[rows].astype(np.bool_)


def is_vq_report(batch: Batch, rows: Array) -> Mask:
    """Tell which of `rows` (int64) are SIP requests with a quality report. Returns (len(rows),) bool."""
    rows = np.asarray(rows)
    out: Mask = (batch.hep_type[rows] == HEP_SIP) & (batch.flags[rows] & np.uint8(FLAG_REQUEST) != 0)
    for i in np.flatnonzero(out).tolist():
        row = int(rows[i])
        if (batch.text(row, "method") or b"") not in (b"PUBLISH", b"NOTIFY"):
            out[i] = False
            continue
        kind = (batch.text(row, "content_type") or b"").lower()
        out[i] = kind.startswith(_TYPE) or _REPORT.match(batch.text(row, "body") or b"") is not None
    return out


def rtcpxr_to_json(batch: Batch, rows: Array) -> tuple[Patch, Patch]:
    """Write the reports among `rows` (int64) as JSON, and the Call-IDs they are about.

    Returns two patches of batch.n rows: payload, correlation id. The second has offset -1 where a report
    names no call, as RTCP never does.
    """
    rows = np.asarray(rows)
    payload: dict[int, bytes] = {}
    correlation: dict[int, bytes] = {}
    for row in rows[is_rtcpxr(batch, rows)].tolist():
        octets = _metrics(batch.text(row, "payload") or b"")
        if octets:
            payload[row] = octets
    for row in rows[is_vq_report(batch, rows)].tolist():
        report = read_report(batch.text(row, "body") or b"")
        octets = None if report is None else to_json(report)
        if octets and report is not None:
            payload[row] = octets
            call_id = str(report.get("CallID", "")).encode()
            if 0 < len(call_id) <= MAX_CORRELATION:
                correlation[row] = call_id
    return Patch.of(batch.n, payload), Patch.of(batch.n, correlation)


def read_report(body: bytes) -> dict[str, Any] | None:
    """Read a report (RFC 6035 section 4.6); None where the body is none."""
    start = _REPORT.match(body)
    if start is None:
        return None
    out: dict[str, Any] = {"report": to_text(start[1])}
    if start[2]:
        out["type"] = to_text(start[2]).strip()
    section: dict[str, Any] | None = None
    for line in _LINE_END.split(to_text(body[start.end() :]))[:MAX_LINES]:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not name or name in ("report", "type"):
            continue
        if name in _SECTIONS:
            section = out.setdefault(name, {})
            continue
        into = out if section is None or name in _SESSION else section
        into.setdefault(name, _value(name, value))
    return out


def _value(name: str, text: str) -> Any:
    """The value of a line: pairs where it has them; identities stay text."""
    if name.endswith(("ID", "Group")):
        return text
    pairs = _PAIR.findall(text)
    if not pairs:
        return text
    out: dict[str, Any] = {}
    for key, quoted, plain in pairs:
        out.setdefault(key, quoted or _number(plain))
    return out


def _number(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _metrics(datagram: bytes) -> bytes | None:
    """The first VoIP metrics of the XR packets in a datagram of RTCP."""
    at = 0
    while len(datagram) - at >= 4 and datagram[at] >> 6 == 2:
        end = min(len(datagram), at + (int.from_bytes(datagram[at + 2 : at + 4], "big") + 1) * 4)
        block = at + 8
        while datagram[at + 1] == _XR and end - block >= 4:
            size = (int.from_bytes(datagram[block + 2 : block + 4], "big") + 1) * 4
            if datagram[block] == _VOIP_METRICS and size >= 36 and end - block >= 36:
                return to_json({"Extended_report_information": _voip(datagram[block + 4 : block + 36])})
            block += size
        at = end
    return None


def _voip(octets: bytes) -> dict[str, Any]:
    """A VoIP metrics block in captagent's names."""
    names = "identifier loss_rate discard_rate burst_rate gap_rate burst_duration gap_duration"
    names += " round_trip_delay end_sys_delay signal_lev noise_lev RERL Gmin R_fact ext_R_fact MOS_LQ MOS_CQ"
    names += " RX_conf reserved JB_nom JB_max JB_abs_max"
    values: dict[str, Any] = dict(zip(names.split(), _METRICS.unpack(octets), strict=True))
    del values["reserved"]
    if values["noise_lev"] > 127:  # dBm, signed as the signal's level is
        values["noise_lev"] -= 256
    receiver = values["RX_conf"]
    values["RX_conf"] = [{"PLC": receiver >> 6, "JB_adapt": receiver >> 4 & 3, "JB_rate": receiver & 15}]
    return values
