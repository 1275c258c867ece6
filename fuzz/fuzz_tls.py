"""Fuzz the TLS decryptor.

Invariants, for any octets in any stretches, with secrets that fit the seeds:
1. feed and expire raise nothing; records read = opened + held + drops, after every call.
2. What is held stays within the bounds, but for the one record that is being read.
3. What comes out is within the arena, and is plaintext that a seed's connection really carried.

An input is a list of stretches: octet 0 of each says which of four flows, which marks and whether time
passes before it, octets 1 and 2 its length. Run by fuzz/run.py.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "fuzz")]

import atheris  # noqa: E402
from libfuzzer import fuzz_with  # noqa: E402

with atheris.instrument_imports(include=["hepcat"]):
    from tests.wire.tls.support import Reader, Talk, contexts, identity, keylog_secrets

import ssl  # noqa: E402

SAID = b"0123456789abcdef" * 4
MAX_OCTETS = 64 << 10
LONGEST_RECORD = 1 << 15


def connections() -> tuple[list[list[tuple[int, bytes]]], bytes]:
    """Return the octets of a few real connections, and their key log."""
    sent, keylog = [], b""
    for version, ciphers in (
        (ssl.TLSVersion.TLSv1_3, None),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA384"),
    ):
        client, server, log = contexts(version, ciphers)
        one = Talk(client, server)
        for side in (0, 1, 0):
            one.say(side, SAID)
        one.close()
        sent.append(one.sent)
        keylog += log.read_bytes()
    return sent, keylog


SENT, KEYLOG = connections()
SECRETS = keylog_secrets(KEYLOG)
SECRETS.add_rsa_key(identity("rsa")[1])


def one_input(octets: bytes) -> None:
    """Run one input; Reader itself checks the sum and the arena after every call."""
    reader = Reader(SECRETS, max_octets=MAX_OCTETS, max_sessions=3, wait_us=1000)
    at = now = 0
    while at + 3 <= len(octets):
        control, length = octets[at], octets[at + 1] << 8 | octets[at + 2]
        piece = octets[at + 3 : at + 3 + length]
        at += 3 + length
        if control & 0x20:
            now += 600
            reader.expire(now)
        reader.feed([(control & 3, piece, control >> 2 & 7)], ts=now)
        assert reader.tls.octets <= MAX_OCTETS + LONGEST_RECORD
        assert reader.tls.sessions <= 3
    reader.expire(now + 2000)
    assert reader.tls.held == 0
    for text in reader.texts.values():
        assert set(text) <= set(SAID)


def write_seeds(folder: Path) -> None:
    """Begin with whole connections."""
    for number, sent in enumerate(SENT):
        seen: set[int] = set()
        seed = b""
        for side, octets in sent:
            control = side if side in seen else side | 1 << 2
            seen.add(side)
            seed += bytes([control]) + len(octets).to_bytes(2, "big") + octets
        (folder / f"seed-{number}").write_bytes(seed)


if __name__ == "__main__":
    fuzz_with(one_input, write_seeds)
