"""Findings on real captures, on recorded calls of a real proxy, and on much made-up traffic."""

from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
import pytest

import hepcat
from hepcat.search.api import Data
from hepcat.search.findings import ERROR, WARNING, Finding
from hepcat.search.ladder import build
from tests.ladder.make import recorded_hep
from tests.support import SHARED, hepcat_here

CAPTURES = ("zeek-wireshark.pcap", "ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = [SHARED / "captures" / name for name in CAPTURES]
    if not all(file.exists() for file in files):
        pytest.skip(f"no captures in {SHARED}")
    folder = tmp_path_factory.mktemp("real") / "data"
    for file in files:
        hepcat_here("import", str(file), "--data", str(folder))
    return folder


def told(data: Data, call_id: str) -> dict[str, Finding]:
    return {finding.rule: finding for finding in reversed(data.flow(call_id).findings())}


def test_a_refused_password(real: Path) -> None:
    with hepcat.open(real) as data:
        found = told(data, "24487391-449bf2a0@192.168.1.2")
        assert found["final_failure"].title == "INVITE failed: 403 Wrong password or domain"
        assert found["final_failure"].arrows == (5,)
        registering = told(data, "578222729-4665d775@578222732-4665d772")
        # 401 "nonce has changed", stale=false; the same password was taken minutes before.
        assert registering["wrong_credentials"].severity == WARNING
        assert "the password may be right" in registering["wrong_credentials"].detail
        assert 'as "voi18062", realm "sip.cybercity.dk"' in registering["wrong_credentials"].detail


def test_a_cause_of_the_telephone_network(real: Path) -> None:
    with hepcat.open(real) as data:
        found = told(data, "11894297-4432a9f8@192.168.1.2")
    assert "Reason: Q.850 cause 21 (call rejected)." in found["final_failure"].detail
    assert found["post_dial_delay"].title == "Post-dial delay 17.846 s"
    assert found["private_address"].title == "SDP and Contact name 192.168.1.2, sent to 212.242.33.35"


def test_a_cancel_that_nobody_hears(real: Path) -> None:
    with hepcat.open(real) as data:
        found = told(data, "105090259-446faf7a@192.168.1.2")
    assert found["retransmissions"].title == "CANCEL repeated 10 times"
    assert found["retransmissions"].severity == ERROR


def test_fax_that_one_side_refuses(real: Path) -> None:
    with hepcat.open(real) as data:
        found = told(data, "SD4909701-9ff11bf72eb4a347c92974d8fbbc2668-ao8o3i1")
    assert found["codec_mismatch"].title == "Offer refused: 488 Not Acceptable Here"
    assert "Offered: image t38 udptl." in found["codec_mismatch"].detail


def test_calls_of_a_real_proxy_went_well() -> None:
    """sipp hangs up at once and offers PCMU alone; nothing else is wrong with a hundred calls."""
    if not (SHARED / "vectors" / "siptrace-hep3.bin").exists():
        pytest.skip(f"no recorded HEP in {SHARED}")
    table = recorded_hep()
    seen: Counter[str] = Counter()
    call_ids = table["call_id"].unique().to_pylist()
    for call_id in call_ids[:30]:
        seen.update(f.rule for f in build(table.filter(pc.equal(table["call_id"], call_id))).findings())
    assert seen == {"early_bye": 30, "no_telephone_event": 30}


def test_much_traffic_is_judged_as_search_judges_it(tmp_path: Path) -> None:
    """A call that search calls failed has a final failure; one that succeeded has no error."""
    hepcat_here("bench", "pcap", "-o", str(tmp_path / "x.pcap"), "--packets", "3000", "--calls", "60")
    hepcat_here("import", str(tmp_path / "x.pcap"), "--data", str(tmp_path / "data"))
    states: Counter[str | None] = Counter()
    with hepcat.open(tmp_path / "data") as data:
        ids = data.search(limit=150, fields=["call_id"])["call_id"].to_pylist()
        for call_id in ids:
            ladder = data.flow(call_id)
            (leg,) = ladder.legs
            rules = {finding.rule for finding in ladder.findings()}
            states[leg.state] += 1
            failed = leg.state in ("failed", "rejected", "busy", "cancelled", "no answer", "redirected")
            assert ("final_failure" in rules) == failed, (leg.call_id, leg.state, rules)
            if leg.state in ("completed", "in call", "registered", "unregistered", "succeeded"):
                assert not rules & {"no_ack", "loop", "authentication_loop", "wrong_credentials"}
    assert states["completed"] > 20
    assert states["busy"] + states["failed"] + states["cancelled"] > 5
