"""Made-up capture files."""

from pathlib import Path

import pytest

from hepcat.bench.pcapfile import write_pcap
from hepcat.errors import HepcatError


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(HepcatError, match=r"cannot write .*/x: No such file"):
        write_pcap(tmp_path / "none" / "x", 10)
