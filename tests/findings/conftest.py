"""A lake of all scenarios: written as a capture file by hepcat's own packet encoder, and imported."""

from pathlib import Path

import pytest

from hepcat.sinks.pcap_writer import PcapWriter
from tests.findings.scenarios import EVERY
from tests.support import hepcat_here


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    rows = sorted((row for scenario in EVERY for row in scenario()), key=lambda row: row["ts"])
    columns = ("ts", "transport", "src_ip", "src_port", "dst_ip", "dst_port")
    with (folder / "calls.pcap").open("wb") as file:
        PcapWriter(file).write((*(row[name] for name in columns), 0xFFFF, row["payload"]) for row in rows)
    hepcat_here("import", str(folder / "calls.pcap"), "--data", str(folder / "data"))
    return folder / "data"
