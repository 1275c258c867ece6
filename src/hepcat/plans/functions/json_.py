"""Functions that turn other protocols into JSON: RTCP, voice quality reports, Diameter, DNS, ISUP; syslog.

In: payloads as they were captured. Out: the JSON as the record's payload, its HEP protocol type, and a
correlation id where the protocol has one; true for the rows for which that worked, false for all others,
which stay as they are. The parsers are those of hepcat.wire, loaded when a plan names them.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from hepcat.batch.edits import Patch
from hepcat.batch.schema import HEP_LOG, HEP_RTCP
from hepcat.plans import match
from hepcat.plans.ast import Call
from hepcat.plans.function import Context, Function
from hepcat.plans.functions.common import (
    BODY,
    CONTENT_TYPE,
    PAYLOAD,
    is_sip,
    nothing,
    only,
    rows_of,
    set_type,
    to_mask,
)
from hepcat.plans.plan import Mask, Step, Work

HEP_DNS: Final = 0x35
HEP_ISUP: Final = 0x36
HEP_DIAMETER: Final = 0x38
_REPORT_TYPE: Final = b"application/vq-rtcpxr"  # RFC 6035 section 4.3
HEP_REPORT: Final = 0x23  # MOS short report: voice quality reports in SIP

#: Syslog's port (RFC 5426 section 3.3).
SYSLOG_PORT: Final = 514

Teller = Callable[[Any, Any], None]


def _take(work: Work, mask: Mask, payload: Patch, correlation: Patch | None, hep_type: int) -> Mask:
    """Lay the new payloads over the records; true where there are any."""
    payload = only(payload, mask)
    true = np.asarray(payload.offset >= 0)
    if not np.count_nonzero(true):
        return true
    work.edits.put("payload", payload)
    set_type(work, true, hep_type)
    if correlation is not None:
        work.edits.put("correlation_id", only(correlation, true))
    return true


def _told(work: Work, mask: Mask, tell: Teller) -> Mask:
    out = np.zeros(work.batch.n, dtype=np.uint8)
    tell(work.batch, out)
    return mask & out.view(np.bool_) & ~is_sip(work, mask)


def _rtcp(call: Call, context: Context) -> Step:
    from hepcat.wire.rtcp import rtcp_to_json

    def step(work: Work, mask: Mask) -> Mask:
        return _take(work, mask, rtcp_to_json(work.batch, rows_of(mask)), None, HEP_RTCP)

    return step


def _is_rtcpxr(call: Call, context: Context) -> Step:
    from hepcat.wire.rtcpxr import is_rtcpxr

    def step(work: Work, mask: Mask) -> Mask:
        rows = rows_of(mask & ~is_sip(work, mask))
        return to_mask(work, rows, is_rtcpxr(work.batch, rows)) if len(rows) else nothing(mask)

    return step


def _likely_reports(work: Work, mask: Mask) -> Mask:
    """Return the SIP that may hold a voice quality report; those are read a row at a time."""
    batch = work.batch
    bodies: Mask = is_sip(work, mask) & (batch.fields[: batch.n, BODY, 1] > 0)
    if not np.count_nonzero(bodies):
        return bodies
    found = match.compare_field(batch, CONTENT_TYPE, _REPORT_TYPE, match.BEGINS, bodies, fold=True)
    found |= match.compare_field(batch, BODY, b"VQ", match.BEGINS, bodies)
    return found


def _is_vq_report(call: Call, context: Context) -> Step:
    from hepcat.wire.rtcpxr import is_vq_report

    def step(work: Work, mask: Mask) -> Mask:
        rows = rows_of(_likely_reports(work, mask))
        return to_mask(work, rows, is_vq_report(work.batch, rows)) if len(rows) else nothing(mask)

    return step


def _rtcpxr(call: Call, context: Context) -> Step:
    from hepcat.wire.rtcpxr import rtcpxr_to_json

    def step(work: Work, mask: Mask) -> Mask:
        rows = rows_of(mask & ~is_sip(work, mask) | _likely_reports(work, mask))
        if not len(rows):
            return nothing(mask)
        payload, correlation = rtcpxr_to_json(work.batch, rows)
        true = _take(work, mask, payload, correlation, HEP_RTCP)
        if np.count_nonzero(reports := is_sip(work, true)):
            set_type(work, reports, HEP_REPORT)
        return true

    return step


def _diameter(call: Call, context: Context) -> Step:
    from hepcat.wire.diameter import diameter_correlation, diameter_mask, diameter_to_json

    def step(work: Work, mask: Mask) -> Mask:
        rows = rows_of(_told(work, mask, diameter_mask))
        if not len(rows):
            return nothing(mask)
        payload = diameter_to_json(work.batch, rows)
        return _take(work, mask, payload, diameter_correlation(work.batch, rows), HEP_DIAMETER)

    return step


def _is_diameter(call: Call, context: Context) -> Step:
    from hepcat.wire.diameter import diameter_mask

    return lambda work, mask: _told(work, mask, diameter_mask)


def _dns(call: Call, context: Context) -> Step:
    from hepcat.wire.dns import dns_mask, dns_to_json

    def step(work: Work, mask: Mask) -> Mask:
        rows = rows_of(_told(work, mask, dns_mask))
        if not len(rows):
            return nothing(mask)
        return _take(work, mask, dns_to_json(work.batch, rows), None, HEP_DNS)

    return step


def _is_dns(call: Call, context: Context) -> Step:
    from hepcat.wire.dns import dns_mask

    return lambda work, mask: _told(work, mask, dns_mask)


def _is_isup(call: Call, context: Context) -> Step:
    from hepcat.wire.isup import isup_mask

    return lambda work, mask: _told(work, mask, isup_mask)


def _isup(call: Call, context: Context) -> Step:
    from hepcat.wire.isup import isup_mask, isup_to_json

    def step(work: Work, mask: Mask) -> Mask:
        rows = rows_of(_told(work, mask, isup_mask))
        if not len(rows):
            return nothing(mask)
        payload, correlation = isup_to_json(work.batch, rows, work.env.isup_correlation)
        return _take(work, mask, payload, correlation, HEP_ISUP)

    return step


def _readable(call: Call, context: Context) -> Step:
    return is_sip


def _opened(call: Call, context: Context) -> Step:
    return lambda work, mask: mask.copy()


def is_syslog(work: Work, mask: Mask) -> Mask:
    """Return what came over UDP or TCP from or to port 514 and begins like a syslog line: < and a digit."""
    batch = work.batch
    ports = (batch.src_port == SYSLOG_PORT) | (batch.dst_port == SYSLOG_PORT)
    likely: Mask = mask & ports & ~is_sip(work, mask)
    if not np.count_nonzero(likely):
        return likely
    found = nothing(mask)
    for digit in b"0123456789":  # PRIVAL, RFC 5424 section 6.2.1
        found |= match.compare_field(batch, PAYLOAD, b"<%c" % digit, match.BEGINS, likely & ~found)
    return found


def _is_syslog(call: Call, context: Context) -> Step:
    return is_syslog


def _syslog(call: Call, context: Context) -> Step:
    def step(work: Work, mask: Mask) -> Mask:
        found = is_syslog(work, mask)
        set_type(work, found, HEP_LOG)
        return found

    return step


_ISUP = "ISUP within M3UA (as Signalling System 7 travels over SCTP)"

FUNCTIONS: Final = (
    Function(
        "parse_rtcp_to_json",
        "protocol_rtcp",
        "RTCP becomes JSON, HEP type 5.",
        _rtcp,
        (),
        "parse_rtcp_to_json()",
    ),
    Function(
        "is_rtcpxr",
        "protocol_rtcpxr",
        "Is RTCP with an extended report (RFC 3611).",
        _is_rtcpxr,
        (),
        "is_rtcpxr()",
    ),
    Function(
        "parse_rtcpxr_to_json",
        "protocol_rtcpxr",
        "The VoIP metrics of an RTCP extended report become JSON, HEP type 5; so does a voice quality report "
        "in SIP (RFC 6035), HEP type 0x23, with the Call-ID it names as correlation id.",
        _rtcpxr,
        (),
        "parse_rtcpxr_to_json()",
    ),
    Function(
        "parse_tls",
        "protocol_tls",
        "Is SIP that could be read: TLS is decrypted before the plan runs.",
        _readable,
        (),
        "parse_tls()",
    ),
    Function(
        "parse_diameter_to_json",
        "protocol_diameter",
        "Diameter becomes JSON, HEP type 0x38, with the Session-Id as correlation id.",
        _diameter,
        (),
        "parse_diameter_to_json()",
    ),
    Function("parse_isup", "protocol_ss7", f"Is {_ISUP}.", _is_isup, (), "parse_isup()"),
    Function(
        "parse_isup_to_json",
        "protocol_ss7",
        "ISUP becomes JSON, HEP type 0x36, with opc:dpc:cic as correlation id where the settings say so.",
        _isup,
        (),
        "parse_isup_to_json()",
    ),
    Function("isup_to_json", "protocol_ss7", "As parse_isup_to_json.", _isup, (), "isup_to_json()"),
    Function(
        "tzsp_payload_extract",
        "socket_tzsp",
        "Always true: TZSP is opened before the plan runs.",
        _opened,
        (),
        "tzsp_payload_extract()",
    ),
    Function(
        "is_vq_report",
        "hepcat",
        "Is a SIP request with a voice quality report (RFC 6035).",
        _is_vq_report,
        (),
        "is_vq_report()",
    ),
    Function("is_diameter", "protocol_diameter", "Is Diameter.", _is_diameter, (), "is_diameter()"),
    Function("is_dns", "hepcat", "Is DNS.", _is_dns, (), "is_dns()"),
    Function(
        "parse_dns_to_json",
        "hepcat",
        "DNS becomes JSON, HEP type 0x35.",
        _dns,
        (),
        "parse_dns_to_json()",
    ),
    Function(
        "is_syslog",
        "hepcat",
        "Is a syslog line: from or to port 514, and begins with <digit.",
        _is_syslog,
        (),
        "is_syslog()",
    ),
    Function(
        "parse_syslog",
        "hepcat",
        "A syslog line gets HEP type 100.",
        _syslog,
        (),
        "parse_syslog()",
    ),
)
