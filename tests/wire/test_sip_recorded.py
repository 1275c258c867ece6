"""SIP of a real proxy, held column by column against what that proxy's own capture module stored."""

import re
from pathlib import Path
from typing import Any

import pytest

from hepcat.wire.sip import index_sip
from tests.wire.test_hep_recorded import SETS, oracle
from tests.wire.test_sip import batch_of, check_slices, columns

#: Our column <- the module's; the others are taken apart in `expected`.
SAME = {
    "ruri": "ruri",
    "ruri_user": "ruri_user",
    "ruri_domain": "ruri_domain",
    "from_user": "from_user",
    "from_domain": "from_domain",
    "from_tag": "from_tag",
    "to_user": "to_user",
    "to_domain": "to_domain",
    "to_tag": "to_tag",
    "pid_user": "pid_user",
    "contact_user": "contact_user",
    "contact_ip": "contact_ip",
    "auth_user": "auth_user",
    "call_id": "callid",
    "call_id_aleg": "callid_aleg",
    "via_1": "via_1",
    "via_1_branch": "via_1_branch",
    "cseq": "cseq",
    "diversion": "diversion",
    "reason": "reason",
    "content_type": "content_type",
    "user_agent": "user_agent",
    "rtp_stat": "rtp_stat",
    "reason_phrase": "reply_reason",
}


def expected(row: dict[str, str]) -> dict[str, Any]:
    """Say as our columns what the module stored; empty is null. In a reply its method is the status."""
    found: dict[str, Any] = {ours: row[its].encode("latin-1") for ours, its in SAME.items()}
    found["contact_port"] = int(row["contact_port"])
    if row["type"] == "2":
        found["status"] = int(row["method"])
        found["method"] = row["cseq"].split()[1].encode()
        found["flags"] = 2
    else:
        found["method"] = row["method"].encode()
        found["flags"] = 1
    server = re.search(r"^Server: (.*)\r$", row["msg"], re.MULTILINE)
    if server and not row["user_agent"]:  # the module does not look at Server
        found["user_agent"] = server[1].encode("latin-1")
    found["via_1"] = found["via_1"].partition(b", SIP/2.0/")[0]  # the module stores all values of the line
    body = row["msg"].encode("latin-1").partition(b"\r\n\r\n")[2]
    return {name: value for name, value in (found | {"body": body}).items() if value}


@pytest.mark.parametrize(("folder", "name"), SETS)
def test_same_as_the_proxy_stored(folder: Path, name: str) -> None:
    rows = oracle(folder / f"{name}.rows.tsv")
    assert len(rows) >= 8
    batch = batch_of([row["msg"].encode("latin-1") for row in rows])
    index_sip(batch)
    check_slices(batch)
    for i, row in enumerate(rows):
        got = columns(batch, i)
        got.pop("expires", None)  # the module has no such column
        assert got == expected(row), row["msg"]
