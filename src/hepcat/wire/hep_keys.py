"""The authentication keys of HEP senders, laid out for the decoder.

In: (key, agent name) pairs of the configuration. Out: `AuthKeys`, which decode_hep takes. What can go
wrong: HepcatError for a key that is empty or given twice; it never shows a key.
"""

from collections.abc import Sequence

import numpy as np

from hepcat.errors import HepcatError


class AuthKeys:
    """The authentication keys that senders may show (chunk 0x000e), each with its agent's name.

    `pairs`: (key, name) with key as octets. Raises HepcatError for an empty or repeated key; neither
    errors nor repr show a key. Comparison takes a time that depends on the lengths alone.
    """

    def __init__(self, pairs: Sequence[tuple[bytes, str]]) -> None:
        keys = [key for key, _ in pairs]
        self.names = tuple(name for _, name in pairs)
        for i, key in enumerate(keys):
            if not key:
                raise HepcatError(
                    f"the authentication key of agent {self.names[i]!r} is empty",
                    "give it at least one octet, or remove the entry",
                )
            if key in keys[:i]:
                raise HepcatError(
                    f"agents {self.names[keys.index(key)]!r} and {self.names[i]!r} have the same key",
                    "a key names one agent: give each its own",
                )
        names = [name.encode() for name in self.names]
        self.key_octets = b"".join(keys)
        self.key_starts = np.cumsum([0, *map(len, keys)], dtype=np.int64)
        self.name_octets = b"".join(names)
        self.name_starts = np.cumsum([0, *map(len, names)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"AuthKeys({len(self)} keys)"
