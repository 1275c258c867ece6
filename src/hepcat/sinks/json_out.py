"""Records as JSON, an object a line, for a target of kind json.

In: rows of a batch. Out: (buffer, offsets): UTF-8 lines, each ended by LF. What can go wrong: HepcatError
from the constructor, for a key that cannot be read. Octets that are no UTF-8 become U+FFFD.

The names are those that users of captagent's output_json read: ip_family, ip_proto, src_ip4 and dst_ip4 (or
src_ip6, dst_ip6), src_port, dst_port, tss, tsu (seconds, microseconds), proto_type (HEP type), capt_id,
corr_id, payload, and of SIP sip_callid, sip_method or sip_response, sip_cseq (its method), sip_from_uri,
sip_to_uri, sip_request_uri, sip_pai_user, sip_sdp. Beyond these: node_name, vlan, tags, password.
What a record has not is left out.
"""

import itertools
import json
import re
from typing import Any, Final

import numpy as np

from hepcat.batch.gather import write_addresses
from hepcat.batch.layout import Array, Batch
from hepcat.batch.schema import FAMILY_IPV6, FIELD_INDEX, HEP_SIP, NO_NODE, NO_VLAN
from hepcat.config.agent import AgentSettings, TargetSettings
from hepcat.sinks.hep_out import target_key

#: JSON name and slice of what is text.
_TEXTS: Final = (("node_name", "node_name"), ("corr_id", "correlation_id"), ("tags", "tags"))
_SIP_TEXTS: Final = (
    ("sip_callid", "call_id"),
    ("sip_request_uri", "ruri"),
    ("sip_pai_user", "pid_user"),
)
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*:$")
_NUMBERS: Final = (
    "family",
    "ip_proto",
    "src_port",
    "dst_port",
    "ts",
    "hep_type",
    "node_id",
    "vlan",
    "status",
)


class JsonEncoder:
    """Encodes rows for one target."""

    #: SIP fields of payloads that a plan replaced are read again
    reads_sip = True

    def __init__(self, settings: TargetSettings, agent: AgentSettings) -> None:
        self._id = agent.node_id if settings.node_id is None else settings.node_id
        self._name = agent.node_name
        self._payload = settings.payload
        self._password = target_key(settings).decode("utf-8", "replace")

    def __call__(self, batch: Batch, rows: Array) -> tuple[Array, Array]:
        """Return (buffer, offsets) of lines."""
        columns = {name: getattr(batch, name)[rows].tolist() for name in _NUMBERS}
        sources = _addresses(batch.src_ip, batch.family, rows)
        targets = _addresses(batch.dst_ip, batch.family, rows)
        lines = []
        for i, row in enumerate(rows.tolist()):
            found = self._record(
                {name: column[i] for name, column in columns.items()}, sources[i], targets[i]
            )
            self._texts(found, batch, row)
            lines.append(json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        offsets = np.cumsum([0, *map(len, lines)], dtype=np.int64)
        return np.frombuffer(b"".join(lines), dtype=np.uint8), offsets

    def _record(self, n: dict[str, int], source: str, target: str) -> dict[str, Any]:
        """Return what stands in the numeric columns."""
        six = n["family"] == FAMILY_IPV6
        found: dict[str, Any] = {
            "ip_family": n["family"],
            "ip_proto": n["ip_proto"],
            "src_ip6" if six else "src_ip4": source,
            "dst_ip6" if six else "dst_ip4": target,
            "src_port": n["src_port"],
            "dst_port": n["dst_port"],
            "tss": n["ts"] // 1_000_000,
            "tsu": n["ts"] % 1_000_000,
            "proto_type": n["hep_type"],
            "capt_id": self._id if n["node_id"] == NO_NODE else n["node_id"],
        }
        if n["vlan"] != NO_VLAN:
            found["vlan"] = n["vlan"]
        if n["hep_type"] == HEP_SIP and n["status"]:
            found["sip_response"] = n["status"]
        if self._password:
            found["password"] = self._password
        return found

    def _texts(self, found: dict[str, Any], batch: Batch, row: int) -> None:
        """Add what stands in the slices."""
        if self._name:
            found["node_name"] = self._name
        for name, field in _TEXTS:
            text = batch.text(row, field)
            if text is not None:
                found[name] = text.decode("utf-8", "replace")
        if found["proto_type"] == HEP_SIP:
            _sip(found, batch, row)
        if self._payload:
            found["payload"] = (batch.text(row, "payload") or b"").decode("utf-8", "replace")


def _sip(found: dict[str, Any], batch: Batch, row: int) -> None:
    texts = [(name, batch.text(row, field)) for name, field in _SIP_TEXTS]
    method = batch.text(row, "method")
    if "sip_response" not in found:
        texts.append(("sip_method", method))
    texts.append(("sip_cseq", method))
    texts += [(f"sip_{who}_uri", _uri(batch, row, who)) for who in ("from", "to")]
    found |= {name: text.decode("utf-8", "replace") for name, text in texts if text is not None}
    if (batch.text(row, "content_type") or b"").lower().startswith(b"application/sdp"):
        found["sip_sdp"] = 1


def _uri(batch: Batch, row: int, who: str) -> bytes | None:
    """Return the URI of From or To: what stands around its user and domain, from the scheme on."""
    parts = [batch.fields[row, FIELD_INDEX[f"{who}_{part}"]].tolist() for part in ("user", "domain")]
    parts = [part for part in parts if part[1]]
    if not parts:
        return None
    base = int(batch.start[row])
    begin, end = base + parts[0][0], base + parts[-1][0] + parts[-1][1]
    before = batch.buffer[max(base, begin - 24) : begin].tobytes()
    scheme = _SCHEME.search(before)
    return (scheme[0] if scheme else b"") + batch.buffer[begin:end].tobytes()


def _addresses(address: Array, family: Array, rows: Array) -> list[str]:
    offsets, octets = write_addresses(address, family, rows)
    text, places = octets.tobytes().decode("ascii"), offsets.tolist()
    return [text[a:b] for a, b in itertools.pairwise(places)]
