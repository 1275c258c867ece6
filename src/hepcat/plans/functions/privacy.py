"""Functions that change what is sent: headers taken out or set, pseudonyms for persons and addresses.

In: SIP messages as they stand now. Out: payloads beside the batch, never in it. True where a record was
made fit to be sent; anonymise() is false for all that is not SIP, which it cannot clean: write
`if (anonymise("all")) { send_hep("..."); }`, and nothing leaves as it was.

What anonymise() leaves: names of hosts and domains, texts of MESSAGE and other bodies that are not SDP (but
for addresses and URIs in them), and what headers of nobody's standard say outside URIs.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from hepcat.batch.edits import Patch
from hepcat.batch.schema import MAX_RECORD
from hepcat.plans import header_edit, match, pseudonyms, rewrite, values
from hepcat.plans.ast import Argument, Call
from hepcat.plans.function import Context, Function, Parameter
from hepcat.plans.functions.common import CORRELATION_ID, copy_payloads, is_sip, only, payload_spans
from hepcat.plans.plan import Mask, Step, Work
from hepcat.wire.sip_names import COMPACT, full_name

#: Headers without which a message cannot be tied to its call, or is no SIP (RFC 3261 section 8.1.1).
NEEDED: Final = ("via", "from", "to", "call-id", "cseq")
#: Room that a record leaves for its correlation id and tags.
SPARE: Final = 2048

WHAT: Final[dict[str, int]] = {
    "numbers": rewrite.NUMBERS,
    "addresses": rewrite.ADDRESSES,
    "sdp": rewrite.SDP,
    "all": rewrite.NUMBERS | rewrite.ADDRESSES | rewrite.SDP,
}


# ---- headers


def _header(context: Context, argument: Argument, removed: bool) -> tuple[str, str]:
    name = full_name(values.header_name(context, argument))
    if name == "content-length":
        context.fail(argument, "Content-Length says where a message ends: it is not for a plan to change")
    if removed and name in NEEDED:
        context.fail(argument, f"without {argument.text} the message could not be read any more")
    if not removed and name in NEEDED:
        context.warn(
            argument, f"{argument.text} is set alike in all messages: calls cannot be told apart by it"
        )
    return name, COMPACT.get(name, "")


def _edit(work: Work, messages: Mask, name: str, compact: str, line: bytes) -> Mask:
    """Edit the headers of messages; return where something changed."""
    data, at, size = payload_spans(work, messages)
    fits = messages & (size + len(line) <= MAX_RECORD - SPARE)
    patch = Patch(*header_edit.edit_headers(data, at, size, fits, name, compact, line))
    changed = np.asarray(patch.offset >= 0)
    if np.count_nonzero(changed):
        work.edits.put("payload", patch)
    return changed


def _remove_header(call: Call, context: Context) -> Step:
    name, compact = _header(context, call.arguments[0], removed=True)
    return lambda work, mask: _edit(work, is_sip(work, mask), name, compact, b"")


def _set_header(call: Call, context: Context) -> Step:
    argument, value = call.arguments
    name, compact = _header(context, argument, removed=False)
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value.text) or len(value.text) > 1024:
        context.fail(
            value, "a header's value has neither line ends nor controls, and 1024 characters at most"
        )
    line = f"{argument.text}: {value.text}\r\n".encode()
    return lambda work, mask: _edit(work, is_sip(work, mask), name, compact, line)


# ---- pseudonyms


def _key(context: Context, argument: Argument) -> bytes:
    """Read a key: file:PATH (its first line) or env:NAME. The secret itself never stands in a plan."""
    kind, _, place = argument.text.partition(":")
    secret = ""
    if kind == "file" and place:
        try:
            secret = Path(place).read_text().partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            context.fail(argument, f"cannot read the key from {place}: {reason}")
    elif kind == "env" and place:
        secret = os.environ.get(place, "")
    else:
        context.fail(argument, f'"{argument.text}" names no key: write "file:PATH" or "env:NAME"')
    if len(secret) < 16:
        context.fail(argument, f"the key in {place} is shorter than 16 characters")
    return hashlib.blake2b(secret.encode(), digest_size=16, person=b"hepcat-pseudonym").digest()


class _Anonymise:
    """The step of one anonymise()."""

    def __init__(self, what: int, key: bytes | None) -> None:
        self.what = what
        self.key = key

    def __call__(self, work: Work, mask: Mask) -> Mask:
        messages = is_sip(work, mask)
        if not np.count_nonzero(messages):
            return messages
        key = self.key or work.env.pseudonym_key
        copied = copy_payloads(work, messages)
        copied.data = np.array(copied.data, dtype=np.uint8)  # a copy that may be written to
        rewrite.scramble_messages(copied.data, copied.offset, copied.length, messages, self.what, key)
        work.edits.put("payload", copied)
        if self.what & rewrite.ADDRESSES:
            self._columns(work, messages, key)
            self._correlation(work, messages, key)
        return messages

    def _columns(self, work: Work, messages: Mask, key: bytes) -> None:
        """The addresses that the record came from and went to."""
        edits, n = work.edits, work.batch.n
        for name in ("src_ip", "dst_ip"):
            before: Any = getattr(edits, name)
            column = np.array(getattr(work.batch, name)[:n] if before is None else before)
            pseudonyms.scramble_columns(column, messages, key)
            setattr(edits, name, column)

    def _correlation(self, work: Work, messages: Mask, key: bytes) -> None:
        """Correlation ids are Call-IDs, which may hold an address: it becomes what it becomes there."""
        batch, edits = work.batch, work.edits
        at, size = match.spans_of(batch, CORRELATION_ID)
        there = messages & (size > 0)
        before = edits.correlation_id
        patch = Patch.empty(batch.n)
        if before is not None:
            changed = messages & (before.offset >= 0)
            patch = only(Patch(before.data.copy(), before.offset, before.length), changed)
            there &= ~changed
        if np.count_nonzero(there):
            own = Patch(batch.buffer.copy(), np.where(there, at, -1), size)
            patch = patch.merge(own)
        if np.count_nonzero(patch.offset >= 0):
            pseudonyms.scramble_text(patch.data, patch.offset, patch.length, patch.offset >= 0, key)
            edits.put("correlation_id", patch)


def _anonymise(call: Call, context: Context) -> Step:
    what = 0
    for part in call.arguments[0].text.split(","):
        argument = Argument(part.strip(), call.arguments[0].position)
        what |= values.choice(context, argument, "kind of pseudonym", WHAT)
    key = _key(context, call.arguments[1]) if len(call.arguments) > 1 else None
    return _Anonymise(what, key)


_HEADER: Final = Parameter("header", "name in any case, long or compact")

FUNCTIONS: Final = (
    Function(
        "remove_header",
        "hepcat",
        "Takes a header out of what is sent, all lines of it; true where it was there.",
        _remove_header,
        (_HEADER,),
        'remove_header("P-Charging-Vector")',
    ),
    Function(
        "set_header",
        "hepcat",
        "Sets a header in what is sent: in place of all of that name, else behind the others; true for SIP "
        "whose headers end.",
        _set_header,
        (_HEADER, Parameter("value", "a text of one line")),
        'set_header("X-Site", "berlin")',
    ),
    Function(
        "anonymise",
        "hepcat",
        "Puts pseudonyms in place of what names persons and places, as long as what they stand for and alike "
        "in all messages; true for SIP, false for all else.",
        _anonymise,
        (
            Parameter(
                "what",
                "numbers (users of URIs, display names, user names, Subject), addresses (IP, in the message "
                "and of the record), sdp (names, addresses and keys in it), all; several between commas",
            ),
            Parameter(
                "key",
                "`file:PATH` or `env:NAME`: a secret that makes pseudonyms outlive the process and agree "
                "with other agents",
                optional=True,
            ),
        ),
        'anonymise("all")',
    ),
)
