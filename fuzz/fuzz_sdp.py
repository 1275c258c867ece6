"""Fuzz the SDP reader.

Invariant: whatever a body and its Content-Type hold, reading returns a description or None, never more
media than the bound, ports within 16 bits, and a one-line summary.

    python fuzz/fuzz_sdp.py -max_total_time=60
"""

import sys

import atheris

with atheris.instrument_imports(include=["hepcat.search.sdp"]):
    from hepcat.search import sdp

GOOD = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"


def test_one_input(data: bytes) -> None:
    """Check the invariant on one input."""
    head, _, body = data.partition(b"\n\n")
    kinds = ("application/sdp", None, 'multipart/mixed;boundary="x"', head[:200].decode("utf-8", "replace"))
    for kind in kinds:
        for octets in (
            body,
            GOOD + body,
            b"--x\r\nContent-Type: application/sdp\r\n\r\n" + body + b"\r\n--x--",
        ):
            found = sdp.sdp_of_body(octets, kind)
            if found is None:
                continue
            assert len(found.media) <= len(octets)
            assert all(0 <= media.port <= 65535 for media in found.media)
            assert "\n" not in found.summary


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
