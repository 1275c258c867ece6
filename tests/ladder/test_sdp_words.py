"""SDP in words: each line keeps its text, known ones have a meaning, hostile ones cost nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcat.search.sdp_words import LONGEST, MOST_LINES, words_of_message, words_of_sdp
from tests.ladder.make import PCMU
from tests.support import SHARED

WEBRTC = """v=0
o=- 20518 3 IN IP4 203.0.113.1
s=Meeting
t=0 0
a=group:BUNDLE 0 1
m=audio 54609 UDP/TLS/RTP/SAVPF 109 0
c=IN IP4 203.0.113.141
a=mid:0
a=rtpmap:109 opus/48000/2
a=fmtp:109 useinbandfec=1
a=rtcp-mux
a=setup:actpass
a=fingerprint:sha-256 19:E2:1C
a=candidate:0 1 UDP 2122194687 192.0.2.4 61665 typ host
a=candidate:1 2 UDP 1685987071 203.0.113.141 54609 typ srflx raddr 192.0.2.4 rport 61665
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj
a=whatever:else
m=video 0 RTP/AVP 96
a=sendonly
m=image 5062 udptl t38
c=IN IP4 198.51.100.7
a=T38MaxBitRate:14400
"""


def words(text: str) -> dict[str, str]:
    """Return the meaning of each line."""
    said = words_of_sdp(text.encode())
    return {line.text: line.words for section in said.sections for line in section.lines}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a=group:BUNDLE 0 1", "share one port"),
        ("a=rtpmap:109 opus/48000/2", "payload type 109 is opus at 48000 Hz, 2 channels"),
        ("a=fmtp:109 useinbandfec=1", "109 (opus): useinbandfec=1"),
        ("a=rtcp-mux", "RFC 5761"),
        ("a=setup:actpass", "may open the connection or wait"),
        ("a=fingerprint:sha-256 19:E2:1C", "sha-256"),
        (
            "a=candidate:0 1 UDP 2122194687 192.0.2.4 61665 typ host",
            "192.0.2.4:61665/udp for RTP: an address",
        ),
        ("m=audio 54609 UDP/TLS/RTP/SAVPF 109 0", "WebRTC"),
        ("m=video 0 RTP/AVP 96", "refused or ended"),
        ("a=T38MaxBitRate:14400", "bit/s at most: 14400"),
        ("o=- 20518 3 IN IP4 203.0.113.1", "version 3 of it, made at 203.0.113.1"),
        ("c=IN IP4 198.51.100.7", "sent to 198.51.100.7"),
        ("t=0 0", "no fixed start or end"),
    ],
)
def test_a_line_is_said(line: str, said: str) -> None:
    assert said in words(WEBRTC)[line]


def test_a_key_is_not_repeated_and_the_unknown_has_no_words() -> None:
    said = words(WEBRTC)
    crypto = next(meaning for line, meaning in said.items() if line.startswith("a=crypto"))
    assert "AES_CM_128_HMAC_SHA1_80" in crypto
    assert "d0Rmdm" not in crypto
    assert said["a=whatever:else"] == ""


def test_sections_sum_up() -> None:
    session, audio, video, fax = words_of_sdp(WEBRTC.encode()).sections
    assert (session.title, session.summary) == ("Session", "Called “Meeting”.")
    assert audio.title == "Stream 1: audio"
    assert audio.summary.startswith("Sends and receives at 203.0.113.141:54609")
    assert "opus, PCMU" in audio.summary
    assert video.summary.startswith("Refused or ended")
    assert fax.title == "Stream 3: image"
    assert "198.51.100.7:5062" in fax.summary


def test_hold_is_said() -> None:
    held = words_of_sdp((PCMU + "a=sendonly\r\n").encode()).sections[1]
    assert held.summary.startswith("On hold. Only sends")
    old = words_of_sdp(PCMU.replace("c=IN IP4 10.0.0.1", "c=IN IP4 0.0.0.0").encode()).sections[1]
    assert "in the old way" in old.summary


def test_telephone_event() -> None:
    said = words(PCMU + "a=fmtp:101 0-15\r\n")
    assert "RFC 4733" in said["a=rtpmap:101 telephone-event/8000"]
    assert "the keys 0-9" in said["a=fmtp:101 0-15"]


def test_a_media_line_that_cannot_be_read_takes_no_other_streams_words() -> None:
    said = words_of_sdp(b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio x RTP/AVP 0\r\nm=video 4000 RTP/AVP 34\r\n")
    assert [s.title for s in said.sections] == ["Session", "Stream 1: audio", "Stream 2: video"]
    assert said.sections[1].summary == "This media line cannot be read."
    assert "192.0.2.1:4000" in said.sections[2].summary


def test_the_message_says_what_is_sdp() -> None:
    head = b"INVITE sip:b@c SIP/2.0\r\n%s\r\n\r\n"
    assert words_of_message(head % b"c: application/sdp" + PCMU.encode()) is not None
    assert words_of_message(head % b"Content-Type: text/plain" + PCMU.encode()) is None
    assert words_of_message(head % b"X: y") is None
    assert words_of_message(b"\xff\x00") is None
    part = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + PCMU.encode() + b"\r\n--b--"
    said = words_of_message(head % b"Content-Type: multipart/mixed;boundary=b" + part)
    assert said is not None
    assert len(said.sections) == 2


def test_bounds() -> None:
    said = words_of_sdp(b"v=0\r\n" + b"a=" + b"x" * 60_000 + b"\r\n" + b"a=mid:1\r\n" * 5_000)
    lines = [line for section in said.sections for line in section.lines]
    assert len(lines) == MOST_LINES
    assert said.left > 0
    assert max(len(line.text) for line in lines) == LONGEST


@given(st.binary(max_size=400))
def test_any_octets(octets: bytes) -> None:
    for body in (octets, b"m=" + octets, b"v=0\nc=IN IP4 1.2.3.4\na=" + octets):
        said = words_of_sdp(body)
        assert all(len(line.words) <= LONGEST for section in said.sections for line in section.lines)


@given(
    st.lists(
        st.sampled_from(
            ["m=audio 1 RTP/AVP 0", "a=rtpmap:", "a=fmtp:", "a=candidate:1", "t=", "o=", "b=", "c="]
        ),
        max_size=12,
    )
)
def test_broken_lines(lines: list[str]) -> None:
    said = words_of_sdp("\r\n".join(lines).encode())
    assert [line.text for s in said.sections for line in s.lines] == lines


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recorded captures here")
def test_real_captures_are_understood() -> None:
    from hepcat.search.api import read_pcap

    unknown: set[str] = set()
    for name in ("zeek-wireshark.pcap", "ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap", "suricata-sip-sdp.pcap"):
        for batch in read_pcap(SHARED / "captures" / name):
            for i in range(batch.n):
                said = words_of_message(bytes(batch.text(i, "payload") or b""))
                for section in said.sections if said else ():
                    unknown |= {line.text for line in section.lines if not line.words}
    assert unknown == set()
