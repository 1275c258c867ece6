"""Cipher suites that are read: number to how records are protected (IANA TLS Cipher Suites registry).

In: the number of a ServerHello. Out: `Suite`, or None for a suite that is not read (3DES, Camellia, ARIA,
RC4, NULL and the like).
"""

from dataclasses import dataclass
from typing import Final

GCM: Final = "gcm"  # RFC 5288
CCM: Final = "ccm"  # RFC 6655
CHACHA: Final = "chacha"  # RFC 7905
CBC: Final = "cbc"  # RFC 5246 section 6.2.3.2


@dataclass(frozen=True, slots=True)
class Suite:
    """mode: GCM, CCM, CHACHA or CBC. key: octets of a key. hash: of the PRF or HKDF, and of CBC's MAC.

    tag: octets of an AEAD tag. mac: hash of CBC's MAC. rsa: whether the premaster secret is encrypted with
    the server's RSA key.
    """

    mode: str
    key: int
    hash: str
    mac: str = ""
    tag: int = 16
    rsa: bool = False


def _make() -> dict[int, Suite]:
    suites: dict[int, Suite] = {
        0x1301: Suite(GCM, 16, "sha256"),  # RFC 8446 appendix B.4
        0x1302: Suite(GCM, 32, "sha384"),
        0x1303: Suite(CHACHA, 32, "sha256"),
        0x1304: Suite(CCM, 16, "sha256"),
        0x1305: Suite(CCM, 16, "sha256", tag=8),
    }
    # AES-GCM: pairs of 128 and 256 bit (RFC 5288, 5289, 5487, 8442).
    pairs = (0x9C, 0x9E, 0xA0, 0xA2, 0xA4, 0xA6, 0xA8, 0xAA, 0xAC)
    for first in (*pairs, 0xC02B, 0xC02D, 0xC02F, 0xC031, 0xD001):
        suites[first] = Suite(GCM, 16, "sha256", rsa=first == 0x9C)
        suites[first + 1] = Suite(GCM, 32, "sha384", rsa=first == 0x9C)
    for number in range(0xCCA8, 0xCCAF):  # RFC 7905
        suites[number] = Suite(CHACHA, 32, "sha256")
    for first in range(0xC09C, 0xC0B0, 2):  # RFC 6655, 7251
        tag = 8 if first in (0xC0A0, 0xC0A2, 0xC0A8, 0xC0AA, 0xC0AE) else 16
        for number, key in ((first, 16), (first + 1, 32)):
            suites[number] = Suite(CCM, key, "sha256", tag=tag, rsa=first in (0xC09C, 0xC0A0))
    _add_cbc(suites)
    return suites


def _add_cbc(suites: dict[int, Suite]) -> None:
    # AES-CBC with HMAC-SHA1: 128 and 256 bit (RFC 5246 appendix A.5, RFC 8422, 4279, 5489).
    for first in range(0x2F, 0x35):
        suites[first] = Suite(CBC, 16, "sha256", "sha1", rsa=first == 0x2F)
        suites[first + 6] = Suite(CBC, 32, "sha256", "sha1", rsa=first == 0x2F)
    for first in (0x8C, 0x90, 0x94, 0xC004, 0xC009, 0xC00E, 0xC013, 0xC018, 0xC035):
        suites[first] = Suite(CBC, 16, "sha256", "sha1")
        suites[first + 1] = Suite(CBC, 32, "sha256", "sha1")
    # AES-CBC with HMAC-SHA256 (RFC 5246 appendix A.5).
    for number, key in ((0x3C, 16), (0x3D, 32), (0x3E, 16), (0x3F, 16), (0x40, 16), (0x67, 16)):
        suites[number] = Suite(CBC, key, "sha256", "sha256", rsa=number in (0x3C, 0x3D))
    for number, key in ((0x68, 32), (0x69, 32), (0x6A, 32), (0x6B, 32), (0x6C, 16), (0x6D, 32)):
        suites[number] = Suite(CBC, key, "sha256", "sha256")
    # 128 bit with HMAC-SHA256, 256 bit with HMAC-SHA384 (RFC 5289, 5487, 5489).
    for first in (0xAE, 0xB2, 0xB6, 0xC023, 0xC025, 0xC027, 0xC029, 0xC037):
        suites[first] = Suite(CBC, 16, "sha256", "sha256")
        suites[first + 1] = Suite(CBC, 32, "sha384", "sha384")


SUITES: Final[dict[int, Suite]] = _make()
