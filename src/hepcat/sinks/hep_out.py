"""Records as HEP 1, 2 or 3, the way a target wants them.

In: rows of a batch. Out: (buffer, offsets) of messages; without octets where the version cannot express the
record. What can go wrong: HepcatError from the constructor, for a key that cannot be read.
"""

from hepcat.batch.layout import Array, Batch
from hepcat.config.agent import AgentSettings, TargetSettings
from hepcat.config.settings import HepKey
from hepcat.wire.hep_encode import encode_hep


def target_key(settings: TargetSettings) -> bytes:
    """Return the key that the target's settings name, b"" for none. Raises HepcatError."""
    if settings.key is None and settings.key_file is None and settings.key_env is None:
        return b""
    source = HepKey(
        name=settings.name, key=settings.key, key_file=settings.key_file, key_env=settings.key_env
    )
    return source.read()


class HepEncoder:
    """Encodes rows for one target. A record keeps the node id and name that it came with."""

    def __init__(self, settings: TargetSettings, agent: AgentSettings) -> None:
        self._version: int = settings.version
        self._key = target_key(settings)
        self._compress = settings.compress
        self._id = agent.node_id if settings.node_id is None else settings.node_id
        self._name = agent.node_name.encode()[:255]

    def __call__(self, batch: Batch, rows: Array) -> tuple[Array, Array]:
        """Return (buffer, offsets)."""
        return encode_hep(
            batch,
            self._version,
            key=self._key,
            compress=self._compress,
            rows=rows,
            default_id=self._id,
            default_name=self._name,
        )
