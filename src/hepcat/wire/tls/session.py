"""One TLS connection as a listener follows it: which keys hold where, for each direction.

In: records, in order within each direction. Out, for each: its application data, a drop reason where it
gave none, or None while the secret or the other direction's hello has not come, in which case the same
record is to be offered again. What can go wrong: a record does not decrypt (TLS_MALFORMED).

After a gap the sequence number is unknown, and with it the nonce: up to AHEAD numbers beyond the expected
one are tried, in TLS 1.3 with the keys of the next epoch too, on up to TRIES records in a row.
"""

from collections.abc import Callable
from typing import Final

from hepcat.batch.drops import Drop
from hepcat.wire.tls import ciphers, messages
from hepcat.wire.tls.messages import Hello, MessageReader
from hepcat.wire.tls.records import APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Record
from hepcat.wire.tls.secrets import EARLY_SECRET, MASTER_SECRET, Secrets
from hepcat.wire.tls.suites import SUITES, Suite

#: Sequence numbers tried beyond the expected one after a gap.
AHEAD: Final = 256
#: Records in a row that such a search may fail for before the direction is given up.
TRIES: Final = 16
#: Octets of handshake messages kept for an extended master secret (RFC 7627).
_TRANSCRIPT_LIMIT: Final = 1 << 17
#: Octets of an encrypted premaster secret: RSA of 16,384 bits.
_LONGEST_KEY: Final = 2048

UNKNOWN: Final = 0
CLIENT: Final = 1
SERVER: Final = 2
_SIDE: Final = ("", "CLIENT", "SERVER")

# Epochs of TLS 1.3 (RFC 8446 section 7.1).
EARLY: Final = 0
HANDSHAKING: Final = 1
TRAFFIC: Final = 2

Outcome = bytes | Drop | None


class Handshake:
    """What one handshake agreed on; a renegotiation makes a new one."""

    __slots__ = (
        "ciphers",
        "client",
        "encrypted",
        "master",
        "rsa_tried",
        "server",
        "server_done",
        "ticket",
        "transcripts",
    )

    def __init__(self) -> None:
        self.client: Hello | None = None
        self.server: Hello | None = None
        self.master: bytes | None = None
        self.ciphers: tuple[ciphers.RecordCipher, ciphers.RecordCipher] | None = None
        self.encrypted: bytes | None = None  # the premaster secret under the server's RSA key
        self.rsa_tried = False
        self.server_done = False
        self.ticket = b""  # the name of the one that the server gave
        self.transcripts: dict[int, bytes] = {CLIENT: b"", SERVER: b""}

    @property
    def suite(self) -> Suite | None:
        return None if self.server is None else SUITES.get(self.server.suite)


class Direction:
    """One direction of a connection: where it is in the handshake, and its keys."""

    def __init__(self, session: "Session") -> None:
        self.role = UNKNOWN
        self.messages = MessageReader()
        self.cipher: ciphers.RecordCipher | None = None
        self.seq = 0
        self.encrypted = False  # TLS 1.2: after ChangeCipherSpec
        self.handshake = session.handshake  # TLS 1.2: the one whose keys hold
        self.epoch = EARLY  # TLS 1.3
        self.secret = b""  # TLS 1.3: of the epoch
        self.uncertain = False  # the sequence number may be higher
        self.tries = TRIES
        self.probing = 0  # TLS 1.3: handshake records whose keys are not known, until data decrypts

    def gap(self) -> None:
        """Octets are missing here: nobody knows how many records, nor what the handshake said in them."""
        self.messages.reset()
        self.uncertain = True
        self.tries = TRIES


class Session:
    """A connection: at most two directions that share a handshake."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        self.handshake = Handshake()
        self.directions: list[Direction] = []
        self.retried = False  # a HelloRetryRequest was seen: this is TLS 1.3

    def join(self, direction: Direction) -> None:
        """Add a direction; its role follows from the other's."""
        other = self.other(direction)
        if other is not None and other.role != UNKNOWN:
            direction.role = CLIENT + SERVER - other.role
        self.directions.append(direction)

    def other(self, direction: Direction) -> Direction | None:
        """Return the opposite direction, None while it has not been seen."""
        return next((d for d in self.directions if d is not direction), None)

    @property
    def tls13(self) -> bool:
        server = self.handshake.server
        return self.retried or (server is not None and server.version >= ciphers.TLS13)

    def take(self, direction: Direction, record: Record) -> Outcome:
        """Read one record: application data, why there is none, or None to be asked again."""
        kind, version, body = record
        if self.tls13:
            if kind == APPLICATION_DATA:
                return self._take13(direction, version, body)
            if kind == HANDSHAKE and direction.cipher is None:
                self._handle(direction, body, self._plain_message)
            return Drop.TLS_CONTROL
        if direction.encrypted:
            return self._take12(direction, kind, version, body)
        if kind == HANDSHAKE:
            self._handle(direction, body, self._plain_message)
            return Drop.TLS_CONTROL
        if kind not in (CHANGE_CIPHER_SPEC, APPLICATION_DATA):
            return Drop.TLS_CONTROL
        if self.handshake.client is None and self.handshake.server is None:
            # Joined in the middle: no secret can be found without the client's random.
            return Drop.TLS_NO_KEY if kind == APPLICATION_DATA else Drop.TLS_CONTROL
        if self.handshake.server is None:
            return None  # what either means depends on the version
        self._change_keys(direction)
        if kind == CHANGE_CIPHER_SPEC:
            return Drop.TLS_CONTROL
        direction.uncertain = True  # ChangeCipherSpec was lost
        return self._take12(direction, kind, version, body)

    def hopeless(self, direction: Direction) -> bool:
        """Whether no secret to come can be of use: what was agreed on is not read, or is not known."""
        handshake = self.handshake if self.tls13 else direction.handshake
        if handshake.client is None and handshake.server is None:
            return True
        if handshake.server is None:
            return False
        return handshake.suite is None or handshake.server.compression != 0

    def skip(self, direction: Direction) -> None:
        """Note that a record was given up that could have been encrypted: it counted for the sequence."""
        if direction.encrypted:
            direction.seq += 1
        elif self.tls13:
            direction.uncertain = True

    # Handshake messages

    def _handle(self, direction: Direction, octets: bytes, take: Callable[[Direction, bytes], None]) -> None:
        for message in direction.messages.feed(octets):
            take(direction, message)

    def _plain_message(self, direction: Direction, message: bytes) -> None:
        """A message of a handshake as TLS 1.2 has it, and the hellos of TLS 1.3."""
        kind = message[0]
        if kind == messages.CLIENT_HELLO:
            self._client_hello(direction, message)
        elif kind == messages.SERVER_HELLO:
            self._server_hello(direction, message)
        elif kind == messages.NEW_SESSION_TICKET and len(message) > 10:
            # Behind lifetime and length, RFC 5077 section 3.3.
            self.handshake.ticket = messages.ticket_name(message[10:])
            self._remember(self.handshake)
        elif kind == messages.CLIENT_KEY_EXCHANGE:
            self.handshake.encrypted = message[6 : 6 + _LONGEST_KEY]
        elif kind == messages.HELLO_REQUEST:
            return  # not part of the transcript (RFC 5246 section 7.4.1.1)
        handshake = self.handshake
        side = direction.role
        # What follows the key exchange is not part of the session hash (RFC 7627 section 3).
        later = side == CLIENT and handshake.encrypted is not None and kind != messages.CLIENT_KEY_EXCHANGE
        if (
            side == UNKNOWN
            or later
            or (side == SERVER and handshake.server_done)
            or not self.secrets.has_rsa
            or self.tls13
        ):
            return
        if len(handshake.transcripts[side]) + len(message) <= _TRANSCRIPT_LIMIT:
            handshake.transcripts[side] += message
            handshake.server_done |= kind == messages.SERVER_HELLO_DONE and side == SERVER

    def _client_hello(self, direction: Direction, message: bytes) -> None:
        hello = messages.parse_client_hello(message)
        if hello is None:
            return
        if self.handshake.client is not None and self.handshake.client.random != hello.random:
            self.handshake = Handshake()
        self.handshake.client = hello
        self._set_roles(direction, CLIENT)

    def _server_hello(self, direction: Direction, message: bytes) -> None:
        hello = messages.parse_server_hello(message)
        if hello is None:
            return
        self._set_roles(direction, SERVER)
        if hello.random == messages.RETRY_RANDOM:
            self.retried = True
        else:
            self.handshake.server = hello

    def _set_roles(self, direction: Direction, role: int) -> None:
        direction.role = role
        other = self.other(direction)
        if other is not None:
            other.role = CLIENT + SERVER - role

    # TLS 1.2 and before

    def _change_keys(self, direction: Direction) -> None:
        """ChangeCipherSpec: from here on the keys of the latest handshake hold (RFC 5246 section 7.1)."""
        direction.encrypted = True
        direction.handshake = self.handshake
        direction.cipher = None
        direction.seq = 0
        direction.uncertain = False
        direction.messages.reset()

    def _take12(self, direction: Direction, kind: int, version: int, body: bytes) -> Outcome:
        if direction.cipher is None:
            direction.cipher = self._cipher12(direction)
            if direction.cipher is None:
                return None
        plain = self._open(direction, kind, version, body)
        direction.cipher.passed(body)
        if plain is None:
            return Drop.TLS_MALFORMED
        if kind == APPLICATION_DATA:
            return plain or Drop.TLS_CONTROL
        if kind == HANDSHAKE:  # Finished, or a renegotiation
            self._handle(direction, plain, self._plain_message)
        elif kind == CHANGE_CIPHER_SPEC:
            self._change_keys(direction)
        return Drop.TLS_CONTROL

    def _cipher12(self, direction: Direction) -> ciphers.RecordCipher | None:
        """Return the direction's keys, None while there is no master secret."""
        handshake = direction.handshake
        client, server, suite = handshake.client, handshake.server, handshake.suite
        if client is None or server is None or suite is None or server.compression:
            return None
        if handshake.ciphers is None:
            master = self._master(handshake)
            if master is None:
                return None
            handshake.master = master
            self._remember(handshake)
            handshake.transcripts = {CLIENT: b"", SERVER: b""}
            handshake.ciphers = ciphers.ciphers12(
                suite, server.version, master, client.random, server.random, server.encrypt_then_mac
            )
        return handshake.ciphers[0 if direction.role == CLIENT else 1]

    def _remember(self, handshake: Handshake) -> None:
        """Keep the master secret for when the session is resumed (RFC 5246 section 7.3, RFC 5077)."""
        if handshake.master is not None and handshake.server is not None:
            for name in (handshake.ticket, handshake.server.session_id):
                if name:
                    self.secrets.remember_session(name, handshake.master)

    def _master(self, handshake: Handshake) -> bytes | None:
        """Find the master secret: in the key log, behind an RSA key, or of the session that is resumed."""
        assert handshake.client is not None
        assert handshake.server is not None
        found = self.secrets.find(handshake.client.random, MASTER_SECRET)
        if found is not None:
            return found
        if handshake.encrypted is not None:
            return self._master_by_rsa(handshake)
        for name in (handshake.client.ticket, handshake.server.session_id):
            found = self.secrets.session(name) if name else None
            if found is not None:
                return found
        return None

    def _master_by_rsa(self, handshake: Handshake) -> bytes | None:
        client, server, suite = handshake.client, handshake.server, handshake.suite
        assert client is not None
        assert server is not None
        assert suite is not None
        assert handshake.encrypted is not None
        if not suite.rsa or handshake.rsa_tried or not self.secrets.has_rsa:
            return None
        flights = handshake.transcripts
        if server.extended_master and not handshake.server_done:
            return None  # the server's messages are not all there yet
        handshake.rsa_tried = True
        candidates = self.secrets.premasters(handshake.encrypted, client.version)
        if not candidates:
            return None
        if not server.extended_master:
            randoms = client.random + server.random
            return ciphers.master_of(server.version, suite.hash, candidates[0], randoms)
        # ClientHello, the server's flight, then the client's up to its key exchange.
        size = 4 + int.from_bytes(flights[CLIENT][1:4], "big")
        whole = flights[CLIENT][:size] + flights[SERVER] + flights[CLIENT][size:]
        return ciphers.extended_master_of(server.version, suite.hash, candidates[0], whole)

    # TLS 1.3

    def _take13(self, direction: Direction, version: int, body: bytes) -> Outcome:
        if direction.cipher is None and not self._enter_epoch(direction):
            return None
        plain = self._open(direction, APPLICATION_DATA, version, body)
        if plain is None:
            if direction.probing:
                direction.probing -= 1
                direction.seq = 0
                return Drop.TLS_CONTROL
            if self._is_early(direction):
                direction.seq = 0
                return Drop.TLS_NO_KEY
            return Drop.TLS_MALFORMED
        direction.probing = 0
        inner = plain.rstrip(b"\0")  # the content type, then padding (RFC 8446 section 5.4)
        if not inner:
            return Drop.TLS_MALFORMED
        if inner[-1] == APPLICATION_DATA:
            return inner[:-1] or Drop.TLS_CONTROL
        if inner[-1] == HANDSHAKE:
            self._handle(direction, inner[:-1], self._hidden_message)
        return Drop.TLS_CONTROL

    def _is_early(self, direction: Direction) -> bool:
        """Whether a client's record that does not decrypt is 0-RTT data without its secret, or refused."""
        client = self.handshake.client
        waiting = direction.epoch == HANDSHAKING and direction.seq <= 1 and not direction.uncertain
        return direction.role == CLIENT and waiting and client is not None and client.early_data

    def _hidden_message(self, direction: Direction, message: bytes) -> None:
        kind = message[0]
        if kind == messages.FINISHED and direction.epoch == HANDSHAKING:
            self._leave_epoch(direction, TRAFFIC)
        elif kind == messages.END_OF_EARLY_DATA and direction.epoch == EARLY:
            self._leave_epoch(direction, HANDSHAKING)
        elif kind == messages.KEY_UPDATE and direction.epoch == TRAFFIC:
            suite = self.handshake.suite
            assert suite is not None
            direction.secret = ciphers.next_secret(suite.hash, direction.secret)
            direction.cipher = ciphers.Aead13(suite, direction.secret)
            direction.seq = 0

    def _leave_epoch(self, direction: Direction, epoch: int) -> None:
        direction.epoch = epoch
        direction.cipher = None
        direction.seq = 0
        direction.messages.reset()

    def _enter_epoch(self, direction: Direction) -> bool:
        """Take the keys of the direction's epoch into use; return whether their secret is known.

        The key log may lack the handshake's secrets: then those of the traffic are tried on each record.
        """
        client, suite = self.handshake.client, self.handshake.suite
        if client is None or suite is None or direction.role == UNKNOWN:
            return False
        if direction.epoch == EARLY:
            secret = self.secrets.find(client.random, EARLY_SECRET)
            if direction.role == CLIENT and client.early_data and secret is not None:
                return self._use(direction, suite, secret)
            direction.epoch = HANDSHAKING
        side = _SIDE[direction.role]
        traffic = self.secrets.find(client.random, f"{side}_TRAFFIC_SECRET_0")
        if direction.epoch == HANDSHAKING:
            secret = self.secrets.find(client.random, f"{side}_HANDSHAKE_TRAFFIC_SECRET")
            if secret is not None:
                return self._use(direction, suite, secret)
            if traffic is None:
                return False
            direction.epoch = TRAFFIC
            direction.probing = TRIES
        return traffic is not None and self._use(direction, suite, traffic)

    def _use(self, direction: Direction, suite: Suite, secret: bytes) -> bool:
        direction.secret = secret
        direction.cipher = ciphers.Aead13(suite, secret)
        direction.seq = 0
        return True

    # Both

    def _open(self, direction: Direction, kind: int, version: int, body: bytes) -> bytes | None:
        """Decrypt with the expected sequence number, else with what may follow it."""
        assert direction.cipher is not None
        plain = direction.cipher.open(direction.seq, kind, version, body)
        if plain is None:
            in_doubt = direction.uncertain and direction.tries > 0
            plain = self._search(direction, kind, version, body) if in_doubt else None
            if plain is None and direction.epoch == EARLY and self.tls13:
                plain = self._search_next(direction, kind, version, body, 1)
        direction.seq += 1
        if plain is not None:
            direction.uncertain = False
            direction.tries = TRIES
        return plain

    def _search(self, direction: Direction, kind: int, version: int, body: bytes) -> bytes | None:
        assert direction.cipher is not None
        direction.tries -= 1
        for seq in range(direction.seq + 1, direction.seq + 1 + AHEAD):
            plain = direction.cipher.open(seq, kind, version, body)
            if plain is not None:
                direction.seq = seq
                return plain
        return self._search_next(direction, kind, version, body, AHEAD) if self.tls13 else None

    def _search_next(
        self, direction: Direction, kind: int, version: int, body: bytes, ahead: int
    ) -> bytes | None:
        """Try the keys of the epoch after this one, or those after a KeyUpdate."""
        client, suite = self.handshake.client, self.handshake.suite
        assert client is not None
        assert suite is not None
        label = ("HANDSHAKE_TRAFFIC_SECRET", "TRAFFIC_SECRET_0", "")[direction.epoch]
        secret: bytes | None = ciphers.next_secret(suite.hash, direction.secret)
        if label:
            secret = self.secrets.find(client.random, f"{_SIDE[direction.role]}_{label}")
        if secret is None:
            return None
        cipher = ciphers.Aead13(suite, secret)
        for seq in range(ahead):
            plain = cipher.open(seq, kind, version, body)
            if plain is not None:
                direction.cipher, direction.secret, direction.seq = cipher, secret, seq
                direction.epoch = min(direction.epoch + 1, TRAFFIC)
                direction.messages.reset()
                return plain
        return None
