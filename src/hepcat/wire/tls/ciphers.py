"""Keys from secrets, and records opened with them.

In: a suite, a secret, the randoms; then records. Out: plaintext, or None where a record does not
authenticate. What can go wrong: nothing else; any octets, of any length, give plaintext or None.
"""

import hashlib
import hmac
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from hepcat.wire.tls.suites import CBC, CCM, CHACHA, GCM, Suite

TLS10: Final = 0x0301
TLS11: Final = 0x0302
TLS12: Final = 0x0303
TLS13: Final = 0x0304

_BLOCK: Final = 16
MASTER_LENGTH: Final = 48


class RecordCipher(Protocol):
    """One direction's keys. `open` changes nothing, so that several sequence numbers can be tried."""

    def open(self, seq: int, kind: int, version: int, body: bytes) -> bytes | None:
        """Return the plaintext of a record (TLS 1.3: with content type and padding), None if it fails."""

    def passed(self, body: bytes) -> None:
        """Note that a record went by, opened or not (TLS 1.0 chains each to the one before)."""


class _Aead(Protocol):
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes: ...


def _aead(suite: Suite, key: bytes) -> _Aead:
    if suite.mode == GCM:
        return AESGCM(key)
    if suite.mode == CCM:
        return AESCCM(key, tag_length=suite.tag)
    return ChaCha20Poly1305(key)


class Aead13:
    """TLS 1.3: nonce is the IV with the sequence number, the header is authenticated (RFC 8446 5.2, 5.3)."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self._aead = _aead(suite, expand_label(suite.hash, secret, b"key", b"", suite.key))
        self._iv = int.from_bytes(expand_label(suite.hash, secret, b"iv", b"", 12), "big")
        self._tag = suite.tag

    def open(self, seq: int, kind: int, version: int, body: bytes) -> bytes | None:
        if len(body) <= self._tag:
            return None
        header = b"%c%c%c%c%c" % (kind, version >> 8, version & 255, len(body) >> 8, len(body) & 255)
        try:
            return self._aead.decrypt((self._iv ^ seq).to_bytes(12, "big"), body, header)
        except InvalidTag:
            return None

    def passed(self, body: bytes) -> None:
        pass


class Aead12:
    """TLS 1.2: sequence number, type, version and length are authenticated (RFC 5246 6.2.3.3).

    GCM and CCM carry 8 octets of the nonce in the record; ChaCha20 makes it as TLS 1.3 does (RFC 7905).
    """

    def __init__(self, suite: Suite, key: bytes, iv: bytes) -> None:
        self._aead = _aead(suite, key)
        self._iv = iv
        self._mask = int.from_bytes(iv, "big")
        self._explicit = 0 if suite.mode == CHACHA else 8
        self._tag = suite.tag

    def open(self, seq: int, kind: int, version: int, body: bytes) -> bytes | None:
        length = len(body) - self._explicit - self._tag
        if length < 0:
            return None
        if self._explicit:
            nonce, data = self._iv + body[:8], body[8:]
        else:
            nonce, data = (self._mask ^ seq).to_bytes(12, "big"), body
        try:
            return self._aead.decrypt(nonce, data, _additional(seq, kind, version, length))
        except InvalidTag:
            return None

    def passed(self, body: bytes) -> None:
        pass


class Cbc:
    """AES-CBC with HMAC, MAC then encrypt or (RFC 7366) encrypt then MAC; IV explicit from TLS 1.1 on."""

    def __init__(self, suite: Suite, key: bytes, mac_key: bytes, iv: bytes | None, mac_last: bool) -> None:
        self._algorithm = algorithms.AES(key)
        self._mac_key = mac_key
        self._mac = suite.mac
        self._mac_length = hashlib.new(suite.mac).digest_size
        self._previous = iv  # None: each record carries its own
        self._mac_last = mac_last

    def open(self, seq: int, kind: int, version: int, body: bytes) -> bytes | None:
        if self._mac_last:
            body, tag = body[: -self._mac_length], body[-self._mac_length :]
            if not self._authentic(_additional(seq, kind, version, len(body)) + body, tag):
                return None
        plain = self._unpadded(body)
        if plain is None or self._mac_last:
            return plain
        plain, tag = plain[: -self._mac_length], plain[-self._mac_length :]
        return plain if self._authentic(_additional(seq, kind, version, len(plain)) + plain, tag) else None

    def passed(self, body: bytes) -> None:
        if self._previous is not None:
            if self._mac_last:
                body = body[: -self._mac_length]
            if len(body) >= _BLOCK:
                self._previous = body[-_BLOCK:]

    def _authentic(self, octets: bytes, tag: bytes) -> bool:
        return len(tag) == self._mac_length and hmac.digest(self._mac_key, octets, self._mac) == tag

    def _unpadded(self, body: bytes) -> bytes | None:
        """Decrypt and take the padding off; every octet of it holds its length (RFC 5246 6.2.3.2)."""
        iv = self._previous
        if iv is None:
            iv, body = body[:_BLOCK], body[_BLOCK:]
        if len(iv) != _BLOCK or not body or len(body) % _BLOCK:
            return None
        plain = Cipher(self._algorithm, modes.CBC(iv)).decryptor().update(body)
        padding = plain[-1] + 1
        least = 0 if self._mac_last else self._mac_length
        if padding + least > len(plain) or plain[-padding:] != bytes([padding - 1]) * padding:
            return None
        return plain[:-padding]


def _additional(seq: int, kind: int, version: int, length: int) -> bytes:
    return (seq << 40 | kind << 32 | version << 16 | length).to_bytes(13, "big")


def ciphers12(
    suite: Suite, version: int, master: bytes, client_random: bytes, server_random: bytes, mac_last: bool
) -> tuple[RecordCipher, RecordCipher]:
    """Return the client's and the server's keys of TLS 1.0 to 1.2 (RFC 5246 section 6.3)."""
    mac, iv = 0, 12 if suite.mode == CHACHA else 4
    if suite.mode == CBC:
        mac, iv = hashlib.new(suite.mac).digest_size, _BLOCK if version == TLS10 else 0
    sizes = (mac, mac, suite.key, suite.key, iv, iv)
    block = prf(version, suite.hash, master, b"key expansion", server_random + client_random, sum(sizes))
    parts, at = [], 0
    for size in sizes:
        parts.append(block[at : at + size])
        at += size
    if suite.mode == CBC:
        ivs = (parts[4], parts[5]) if version == TLS10 else (None, None)
        return (
            Cbc(suite, parts[2], parts[0], ivs[0], mac_last),
            Cbc(suite, parts[3], parts[1], ivs[1], mac_last),
        )
    return Aead12(suite, parts[2], parts[4]), Aead12(suite, parts[3], parts[5])


def prf(version: int, name: str, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """Return `length` octets of the PRF (RFC 5246 section 5; before TLS 1.2: RFC 2246 section 5)."""
    if version >= TLS12:
        return _p_hash(name, secret, label + seed, length)
    half = (len(secret) + 1) // 2
    first = _p_hash("md5", secret[:half], label + seed, length)
    second = _p_hash("sha1", secret[-half:], label + seed, length)
    return (int.from_bytes(first, "big") ^ int.from_bytes(second, "big")).to_bytes(length, "big")


def _p_hash(name: str, secret: bytes, seed: bytes, length: int) -> bytes:
    out, a = b"", seed
    while len(out) < length:
        a = hmac.digest(secret, a, name)
        out += hmac.digest(secret, a + seed, name)
    return out[:length]


def master_of(version: int, name: str, premaster: bytes, randoms: bytes) -> bytes:
    """Return the master secret (RFC 5246 section 8.1). randoms: the client's, then the server's."""
    return prf(version, name, premaster, b"master secret", randoms, MASTER_LENGTH)


def extended_master_of(version: int, name: str, premaster: bytes, messages: bytes) -> bytes:
    """Return the master secret bound to the handshake (RFC 7627 section 4). messages: up to the key's."""
    if version >= TLS12:
        digest = hashlib.new(name, messages).digest()
    else:
        digest = hashlib.md5(messages).digest() + hashlib.sha1(messages).digest()
    return prf(version, name, premaster, b"extended master secret", digest, MASTER_LENGTH)


def expand_label(name: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """Return HKDF-Expand-Label (RFC 8446 section 7.1)."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([count]), name)
        out += block
        count += 1
    return out[:length]


def next_secret(name: str, secret: bytes) -> bytes:
    """Return the traffic secret after a KeyUpdate (RFC 8446 section 7.2)."""
    return expand_label(name, secret, b"traffic upd", b"", len(secret))
