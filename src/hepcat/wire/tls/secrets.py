"""Secrets to read TLS with: key log lines by client random, and RSA private keys.

In: octets of a key log (the SSLKEYLOGFILE format, draft-ietf-tls-keylogfile), RSA keys in PEM. Out: a
secret by client random and label; the premaster secrets that an RSA key exchange may have carried. What
can go wrong: lines that are no key log lines are passed over; ValueError for a PEM that holds no RSA key.

One thread may add while others look up: each look-up is one dict access, and `version` grows after the
secrets stand.
"""

import binascii
from collections import OrderedDict
from typing import Final

#: Labels that are used. EXPORTER_SECRET and the like say nothing of records and are not kept.
MASTER_SECRET: Final = "CLIENT_RANDOM"
EARLY_SECRET: Final = "CLIENT_EARLY_TRAFFIC_SECRET"
_LABELS: Final = frozenset(
    {MASTER_SECRET, EARLY_SECRET, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"}
)
_TRAFFIC: Final = ("CLIENT_TRAFFIC_SECRET_", "SERVER_TRAFFIC_SECRET_")
#: A label's secrets have 48 octets (TLS 1.2) or a hash's length (TLS 1.3: 32 or 48).
_SECRET_LENGTHS: Final = frozenset({32, 48})
RANDOM_LENGTH: Final = 32
_LONGEST_LINE: Final = 512
#: TRAFFIC_SECRET_n that are kept of one connection; those after the first can be derived from it.
_LABELS_A_RANDOM: Final = 8


class Secrets:
    """What is known, bounded: of more than `max_randoms` connections the oldest are forgotten.

    version: grows whenever a secret or a key is added, so that who waits for one knows when to look again.
    """

    def __init__(self, max_randoms: int = 20_000) -> None:
        self.version = 0
        self._max_randoms = max_randoms
        self._by_random: OrderedDict[bytes, dict[str, bytes]] = OrderedDict()
        self._rsa: list[object] = []
        self._sessions: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        """Return how many connections have secrets."""
        return len(self._by_random)

    def add_keylog(self, octets: bytes) -> int:
        """Add the lines of a key log; return how many secrets were new. Anything else is passed over."""
        new = 0
        for line in octets.splitlines():
            new += self._add_line(line)
        if new:
            self.version += 1
        return new

    def add_rsa_key(self, pem: bytes) -> None:
        """Add an RSA private key (PEM, not encrypted). Raises ValueError where it is none."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(pem, password=None)
        except TypeError:
            raise ValueError("the private key is encrypted; give it without a pass phrase") from None
        except Exception as error:  # the package raises several kinds for what is no key
            raise ValueError(f"not a private key in PEM: {error}") from None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("not an RSA key; only an RSA key exchange can be read with a private key")
        self._rsa.append(key)
        self.version += 1

    @property
    def has_rsa(self) -> bool:
        """Whether there is an RSA key."""
        return bool(self._rsa)

    def find(self, client_random: bytes, label: str) -> bytes | None:
        """Return a secret of the connection that began with this client random."""
        found = self._by_random.get(client_random)
        return None if found is None else found.get(label)

    def premasters(self, encrypted: bytes, version: int) -> list[bytes]:
        """Return what an RSA-encrypted premaster secret may be: one candidate a key that fits.

        version: of the ClientHello, which stands in the premaster secret (RFC 5246 section 7.4.7.1). A
        key that is not the server's gives random octets, not an error (implicit rejection), so length and
        version are the test; should both fit by chance, the records do not decrypt.
        """
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

        found = []
        for key in self._rsa:
            assert isinstance(key, RSAPrivateKey)
            if (key.key_size + 7) // 8 != len(encrypted):
                continue
            try:
                premaster = key.decrypt(encrypted, PKCS1v15())
            except ValueError:
                continue
            if len(premaster) == 48 and premaster[:2] == version.to_bytes(2, "big"):
                found.append(premaster)
        return found

    def remember_session(self, name: bytes, master: bytes) -> None:
        """Keep the master secret of a TLS 1.2 session by its id or ticket, for when it is resumed."""
        self._sessions[name] = master
        if len(self._sessions) > self._max_randoms:
            self._sessions.popitem(last=False)

    def session(self, name: bytes) -> bytes | None:
        """Return the master secret of a session by its id or ticket."""
        return self._sessions.get(name)

    def _add_line(self, line: bytes) -> int:
        if len(line) > _LONGEST_LINE or line[:1] == b"#":
            return 0
        parts = line.split()
        if len(parts) != 3:
            return 0
        label = parts[0].decode("ascii", "replace")
        if label not in _LABELS and not (label[:22] in _TRAFFIC and label[22:].isdecimal()):
            return 0
        try:
            random, secret = binascii.unhexlify(parts[1]), binascii.unhexlify(parts[2])
        except binascii.Error:
            return 0
        if len(random) != RANDOM_LENGTH or len(secret) not in _SECRET_LENGTHS:
            return 0
        return self._put(random, label, secret)

    def _put(self, random: bytes, label: str, secret: bytes) -> int:
        known = self._by_random.get(random)
        if known is None:
            known = self._by_random[random] = {}
            if len(self._by_random) > self._max_randoms:
                self._by_random.popitem(last=False)
        if known.get(label) == secret or (label not in known and len(known) >= _LABELS_A_RANDOM):
            return 0
        known[label] = secret
        return 1
