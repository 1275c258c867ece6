"""JSON for what is told of a message: text of unknown octets, and a bound on the whole.

In: octets, and plain Python values. Out: text, and JSON octets of at most MAX_JSON. What can go wrong:
nothing; octets that are no UTF-8 come out as the characters of Latin-1, a list that makes the JSON too
long is cut, and "truncated": true says so.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hepcat.batch.edits import Patch
from hepcat.batch.layout import Batch
from hepcat.batch.schema import FIELD_INDEX

Array = npt.NDArray[Any]

#: The longest JSON that is made of a message: with the other fields of its record, and in one HEP message,
#: it has to stay below 65,535 octets.
MAX_JSON: Final = 60_000
#: The longest correlation id that is made of a message.
MAX_CORRELATION: Final = 1024

_PAYLOAD: Final = FIELD_INDEX["payload"]
#: Values that are told as text if they look like it, else in hexadecimal digits.
_CONTROLS: Final = frozenset(range(32)) | {127}


def to_text(octets: bytes) -> str:
    """Octets as text: UTF-8, else Latin-1 octet by octet."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def to_text_or_hex(octets: bytes) -> str:
    """Octets as text where they are printable UTF-8, else as hexadecimal digits."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.hex()
    return octets.hex() if any(octet in _CONTROLS for octet in octets) else text


def to_json(value: dict[str, Any], lists: tuple[str, ...] = ()) -> bytes | None:
    """Write an object; where it is too long, keep half of the lists named, and half of that, and so on.

    lists: keys of `value` with lists that may be cut, `truncated` then says so. None where it does not
    fit even without them.
    """
    octets = _dump(value)
    while len(octets) > MAX_JSON:
        if not any(value.get(key) for key in lists):
            return None
        value = {
            **value,
            **{k: value[k][: len(value[k]) // 2] for k in lists if k in value},
            "truncated": True,
        }
        octets = _dump(value)
    return octets


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def patch_rows(batch: Batch, rows: Array, write: Callable[[bytes], bytes | None]) -> Patch:
    """Return a patch with what `write` makes of each row's payload; rows it returns None for stay.

    rows: int64. For what is rare: this is one call of Python a row.
    """
    values = {}
    for row in np.asarray(rows).tolist():
        octets = write(batch.text(row, "payload") or b"")
        if octets:
            values[row] = octets
    return Patch.of(batch.n, values)


def payloads(batch: Batch, rows: Array | None = None) -> tuple[Array, Array]:
    """Return where the payloads of rows (None: all) begin in the buffer, and their lengths; int64."""
    pick: Any = slice(batch.n) if rows is None else rows
    fields = batch.fields[pick, _PAYLOAD].astype(np.int64)
    return batch.start[: batch.n][pick] + fields[:, 0], fields[:, 1].copy()


def starting(batch: Batch, octet: int, least: int) -> Array:
    """Return the rows (int64) whose payload begins with an octet and has at least so many; for masks."""
    offset, length = payloads(batch)
    rows = np.flatnonzero(length >= max(least, 1))
    found: Array = rows[batch.buffer[offset[rows]] == octet]
    return found


def heads(batch: Batch, rows: Array, octets: int) -> Array:
    """Return the first octets of payloads that are not shorter: (len(rows), octets) int64."""
    offset, _ = payloads(batch, rows)
    found: Array = batch.buffer[offset[:, None] + np.arange(octets)].astype(np.int64)
    return found
