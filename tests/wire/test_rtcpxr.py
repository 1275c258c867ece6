"""Voice quality reports: RTCP XR and SIP PUBLISH to JSON; what is neither; random octets."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcat.batch.layout import Batch
from hepcat.wire.rtcpxr import is_rtcpxr, is_vq_report, rtcpxr_to_json
from tests.wire import make_rtcp as make
from tests.wire.make_batch import Datagram, make_batch, octets_in, read_json

VALUES = (1, 2, 3, 4, 500, 600, 70, 80, -10, 200, 90, 16, 93, 127, 41, 40, 0xB2, 0, 60, 120, 240)
METRICS = make.voip_metrics(0xABCD, VALUES)
RR = make.rr(2, make.block(1))
XR = RR + make.xr(1, METRICS)

#: Written after the grammar of RFC 6035 section 4.6.
REPORT = """VQSessionReport: CallTerm
CallID: 6dg37f1890463@example.com
LocalID: Alice <sip:alice@example.org>
RemoteID: Bill <sip:bill@example.net>
OrigID: Alice <sip:alice@example.org>
LocalGroup: gateway 1
LocalAddr: IP=192.0.2.10 PORT=5000 SSRC=1a3b5c7d
LocalMAC: 00:1f:5b:cc:21:0f
RemoteAddr: IP=2001:db8::1 PORT=5002 SSRC=0x2468abcd
LocalMetrics:
Timestamps: START=2004-10-10T18:23:43Z STOP=2004-10-01T18:26:02Z
SessionDesc: PT=18 PD=G729 SR=8000 FD=20 FO=20 FPP=2 PPS=50 FMTP="annexb=no; x=y" PLC=3 SSUP=on
JitterBuffer: JBA=3 JBR=2 JBN=40 JBM=80 JBX=120
PacketLoss: NLR=5.0 JDR=2.0
BurstGapLoss: BLD=0.0 BD=0 GLD=2.0 GD=500 GMIN=16
Delay: RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10
Signal: SL=-18 NL=-50 RERL=55
QualityEst: RLQ=82 RCQ=85 EXTRI=90 MOSLQ=3.5 MOSCQ=3.7 QoEEstAlg=P.564
RemoteMetrics:
PacketLoss: NLR=1.25 JDR=0.0
Delay: RTD=201
DialogID: 38419823470834;to-tag=8472761;from-tag=9123dh311
"""


def publish(
    body: str | bytes = REPORT,
    method: str = "PUBLISH",
    kind: str = "application/vq-rtcpxr",
    first: str = "",
    eol: str = "\r\n",
) -> Datagram:
    octets = body.replace("\n", eol).encode() if isinstance(body, str) else body
    head = [
        first or f"{method} sip:collector@example.org SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
        "From: <sip:alice@example.com>;tag=1",
        "To: <sip:collector@example.org>",
        "Call-ID: 1890463548@alice.example.org",
        f"CSeq: 4331 {method}",
        "Event: vq-rtcpxr",
        *([f"Content-Type: {kind}"] if kind else []),
        f"Content-Length: {len(octets)}",
        "\r\n",
    ]
    return Datagram("\r\n".join(head).encode() + octets)


def to_json(batch: Batch) -> list[tuple[dict[str, Any] | None, bytes | None]]:
    payload, correlation = rtcpxr_to_json(batch, np.arange(batch.n))
    told = [read_json(octets) for octets in octets_in(payload, batch.n)]
    return list(zip(told, octets_in(correlation, batch.n), strict=True))


def test_rtcp_xr() -> None:
    batch = make_batch(XR)
    assert is_rtcpxr(batch, np.arange(1)).tolist() == [True]
    assert is_vq_report(batch, np.arange(1)).tolist() == [False]
    ((value, correlation),) = to_json(batch)
    assert correlation is None
    assert value == {
        "Extended_report_information": {
            "identifier": 0xABCD,
            "loss_rate": 1,
            "discard_rate": 2,
            "burst_rate": 3,
            "gap_rate": 4,
            "burst_duration": 500,
            "gap_duration": 600,
            "round_trip_delay": 70,
            "end_sys_delay": 80,
            "signal_lev": -10,
            "noise_lev": -56,
            "RERL": 90,
            "Gmin": 16,
            "R_fact": 93,
            "ext_R_fact": 127,
            "MOS_LQ": 41,
            "MOS_CQ": 40,
            "RX_conf": [{"PLC": 2, "JB_adapt": 3, "JB_rate": 2}],
            "JB_nom": 60,
            "JB_max": 120,
            "JB_abs_max": 240,
        }
    }


def test_a_report_in_sip() -> None:
    for eol in ("\r\n", "\n"):
        batch = make_batch(publish(eol=eol))
        assert is_vq_report(batch, np.arange(1)).tolist() == [True]
        assert is_rtcpxr(batch, np.arange(1)).tolist() == [False]
        ((value, correlation),) = to_json(batch)
        assert correlation == b"6dg37f1890463@example.com"
        assert value is not None
        assert (value["report"], value["type"]) == ("VQSessionReport", "CallTerm")
        assert value["LocalID"] == "Alice <sip:alice@example.org>"
        assert value["LocalAddr"] == {"IP": "192.0.2.10", "PORT": 5000, "SSRC": "1a3b5c7d"}
        assert value["RemoteAddr"]["IP"] == "2001:db8::1"
        assert value["LocalMAC"] == "00:1f:5b:cc:21:0f"
        assert value["DialogID"] == "38419823470834;to-tag=8472761;from-tag=9123dh311"
        local = value["LocalMetrics"]
        assert local["Timestamps"] == {"START": "2004-10-10T18:23:43Z", "STOP": "2004-10-01T18:26:02Z"}
        assert local["SessionDesc"]["FMTP"] == "annexb=no; x=y"
        assert local["JitterBuffer"] == {"JBA": 3, "JBR": 2, "JBN": 40, "JBM": 80, "JBX": 120}
        assert local["PacketLoss"] == {"NLR": 5.0, "JDR": 2.0}
        assert local["Signal"] == {"SL": -18, "NL": -50, "RERL": 55}
        assert local["QualityEst"]["QoEEstAlg"] == "P.564"
        assert value["RemoteMetrics"] == {"PacketLoss": {"NLR": 1.25, "JDR": 0.0}, "Delay": {"RTD": 201}}


def test_session_lines_behind_the_metrics_belong_to_the_session() -> None:
    body = "VQIntervalReport\nLocalMetrics:\nTimestamps:START=1 STOP=2\nCallID:a@b\nDelay:RTD=1\n"
    ((value, correlation),) = to_json(make_batch(publish(body)))
    assert correlation == b"a@b"
    assert value == {
        "report": "VQIntervalReport",
        "LocalMetrics": {"Timestamps": {"START": 1, "STOP": 2}, "Delay": {"RTD": 1}},
        "CallID": "a@b",
    }


def test_what_is_a_report() -> None:
    batch = make_batch(
        publish(kind=""),
        publish(method="NOTIFY", kind="Application/VQ-RTCPXR;x=y"),
        publish(method="OPTIONS"),
        publish(first="SIP/2.0 200 OK"),
        publish("<presence/>", kind="application/pidf+xml"),
        publish("nothing of the kind"),
        Datagram(RR),
        Datagram(b""),
        publish(REPORT.replace("6dg37f1890463@example.com", "x" * 2000)),
    )
    rows = np.arange(batch.n)
    assert is_vq_report(batch, rows).tolist() == [True, True, *[False] * 3, True, False, False, True]
    assert is_vq_report(batch, rows[::-1][:2]).tolist() == [True, False]
    told = to_json(batch)
    assert [value is not None for value, _ in told] == [True, True, *[False] * 6, True]
    assert told[8][1] is None
    assert not is_rtcpxr(batch, rows).any()


def test_a_report_that_repeats_itself_stays_within_its_bound() -> None:
    body = REPORT + "".join(f"X{i}: A={'b' * 100}\n" for i in range(550))
    ((value, _),) = to_json(make_batch(publish(body)))
    assert value is not None
    long = REPORT + "LocalX: " + "\x01" * 20_000
    assert to_json(make_batch(publish(long)))[0][0] is None  # as JSON longer than a record may be


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60).map(lambda body: make.xr(1)[:4] + body),
            st.binary(max_size=60).map(lambda body: RR + b"\x80\xcf" + body),
            st.binary(max_size=100).map(lambda body: publish(b"VQSessionReport\r\n" + body)),
            st.text(max_size=100).map(lambda body: publish("VQAlertReport: Type=x\r\n" + body)),
        ),
        max_size=4,
    )
)
@settings(max_examples=200, deadline=None)
def test_random_octets(messages: list[Any]) -> None:
    batch = make_batch(*messages)
    to_json(batch)
    is_rtcpxr(batch, np.arange(batch.n))
