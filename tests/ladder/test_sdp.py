"""SDP: what bodies of all kinds say about the media."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcat.search.sdp import MAX_MEDIA, Sdp, parse_sdp, sdp_of_body, sdp_of_message

HEAD = "v=0\r\no=- 1 2 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"


def sdp(text: str) -> Sdp:
    result = parse_sdp(text.encode())
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("body", "summary"),
    [
        (
            "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n",
            "PCMU PCMA telephone-event 10.0.0.1:4000 sendrecv",
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.7\r\na=sendonly\r\n",
            "PCMU 10.0.0.7:4000 sendonly (hold)",
        ),
        ("m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n", "PCMU 10.0.0.1:4000 recvonly"),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", "PCMU 0.0.0.0:4000 sendrecv (hold)"),
        ("m=audio 0 RTP/AVP 0\r\n", "PCMU refused"),
        ("m=audio 4000/2 RTP/SAVP 18\r\n", "G729 10.0.0.1:4000 sendrecv"),
        (
            "m=audio 4000 RTP/AVP 97 96 13\r\na=rtpmap:96 opus/48000/2\r\n",
            "97 opus CN 10.0.0.1:4000 sendrecv",
        ),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n", "PCMU [2001:db8::1]:4000 sendrecv"),
        ("m=image 5000 udptl t38\r\n", "image t38 10.0.0.1:5000 sendrecv"),
        (
            "m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\na=inactive\r\n",
            "audio PCMU 10.0.0.1:4000 sendrecv; video H264 10.0.0.1:4002 inactive (hold)",
        ),
        (
            "m=audio 4000 RTP/AVP 101 102\r\na=rtpmap:101 telephone-event/8000\r\n"
            "a=rtpmap:102 telephone-event/16000\r\n",
            "telephone-event 10.0.0.1:4000 sendrecv",
        ),
        ("m=message 5060 TCP/MSRP *\r\n", "message * 10.0.0.1:5060 sendrecv"),
    ],
)
def test_summaries(body: str, summary: str) -> None:
    assert sdp(HEAD + body).summary == summary


def test_direction_of_the_session_holds_for_all() -> None:
    both = sdp(HEAD + "a=inactive\r\nm=audio 1 RTP/AVP 0\r\nm=video 2 RTP/AVP 31\r\na=sendrecv\r\n")
    assert [m.direction for m in both.media] == ["inactive", "sendrecv"]
    assert not both.hold
    assert sdp(HEAD + "a=inactive\r\nm=audio 1 RTP/AVP 0\r\n").hold


def test_rtcp() -> None:
    (media,) = sdp(HEAD + "m=audio 4000 RTP/AVP 0\r\na=rtcp:4005 IN IP4 10.0.0.3\r\na=rtcp-mux\r\n").media
    assert (media.rtcp_port, media.rtcp_mux) == (4005, True)
    (media,) = sdp(HEAD + "m=audio 4000 RTP/AVP 0\r\na=rtcp:\r\n").media
    assert (media.rtcp_port, media.rtcp_mux) == (None, False)


def test_origin_and_line_ends() -> None:
    assert sdp(HEAD).origin == "1 2"
    assert sdp(HEAD.replace("\r\n", "\n") + "m=audio 4000 RTP/AVP 0").summary == "PCMU 10.0.0.1:4000 sendrecv"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "v=0",
        "hello",
        "m=",
        "m=audio",
        "m=audio x RTP/AVP 0",
        "m=audio 99999 RTP/AVP 0",
        "c=IN IP4",
        "m=audio -1 RTP/AVP 0",
        "m=audio ١ RTP/AVP 0",
    ],
)
def test_what_is_not_sdp(body: str) -> None:
    assert parse_sdp(body.encode()) is None


def test_no_address() -> None:
    assert sdp("m=audio 4000 RTP/AVP 0\n").summary == "PCMU :4000 sendrecv"


MULTIPART = (
    b"preamble\r\n--b1\r\nContent-Type: application/isup;version=x\r\n\r\n\x01\x02--\x03\r\n"
    b"--b1\r\ncontent-type:application/sdp\r\nX: y\r\n\r\n"
    + HEAD.encode()
    + b"m=audio 4000 RTP/AVP 8\r\n\r\n--b1--\r\n"
)


@pytest.mark.parametrize("kind", ["multipart/mixed; boundary=b1", 'Multipart/Mixed;x=y;Boundary="b1"'])
def test_multipart(kind: str) -> None:
    result = sdp_of_body(MULTIPART, kind)
    assert result is not None
    assert result.summary == "PCMA 10.0.0.1:4000 sendrecv"


def test_multipart_without_its_boundary() -> None:
    result = sdp_of_body(MULTIPART.removeprefix(b"preamble\r\n"), "multipart/mixed")
    assert result is not None
    assert sdp_of_body(b"text\r\n", "multipart/mixed") is None
    assert sdp_of_body(MULTIPART, "multipart/mixed;boundary=other") is None


def test_content_type_decides() -> None:
    body = HEAD.encode()
    assert sdp_of_body(body, "application/sdp; charset=utf-8") is not None
    assert sdp_of_body(body, None) is not None, "Content-Type was lost, the body tells"
    assert sdp_of_body(body, "text/plain") is None
    assert sdp_of_message(b"INVITE sip:x SIP/2.0\r\nX: y\r\n\r\n" + body, "application/sdp") is not None
    assert sdp_of_message(b"INVITE sip:x SIP/2.0\n\n" + body, "application/sdp") is not None
    assert sdp_of_message(b"INVITE sip:x SIP/2.0\r\nX: y\r\n", "application/sdp") is None


def test_bounds() -> None:
    many = sdp(HEAD + "m=audio 1 RTP/AVP 0\r\n" * 5000)
    assert len(many.media) == MAX_MEDIA
    wide = sdp(HEAD + "m=audio 1 RTP/AVP" + " 0" * 30000 + "\r\n")
    assert wide.media[0].codecs == ("PCMU",)
    assert sdp_of_body(b"--x\r\n" * 10000, "multipart/mixed;boundary=x") is None


@given(
    st.binary(max_size=400),
    st.sampled_from([None, "application/sdp", "multipart/mixed;boundary=x", "multipart/x"]),
)
def test_any_octets(body: bytes, kind: str | None) -> None:
    for octets in (body, HEAD.encode() + b"m=audio " + body, b"--x\r\n" + body):
        result = sdp_of_body(octets, kind)
        if result is not None:
            assert isinstance(result.summary, str)
