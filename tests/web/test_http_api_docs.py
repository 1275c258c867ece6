"""docs/http-api.md: every example works as it stands; the settings and routes that it names are there."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcat.config.web import WebSettings
from tests.support import ROOT, Server, hepcat, need, wait_for

PAGE = (ROOT / "docs" / "http-api.md").read_text()
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need("curl", "bash")
    with Server(tmp_path_factory.mktemp("examples"), page=True) as started:
        to = f"udp://127.0.0.1:{started.port}"
        hepcat("bench", "hep", "--to", to, "--rate", "300", "--seconds", "3")
        wait_for(lambda: started.count() > 800, what="stored")
        yield started


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 7


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example(server: Server, tmp_path: Path, example: str) -> None:
    here = example.replace("127.0.0.1:9080", f"127.0.0.1:{server.http}").replace("curl ", "curl -sS --fail ")
    script = f"set -euo pipefail\n{here}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=120, cwd=tmp_path, errors="replace"
    )
    assert done.returncode == 0, (example, done.stdout[-500:], done.stderr)
    assert done.stdout or list(tmp_path.iterdir())
    assert all(file.stat().st_size for file in tmp_path.iterdir())


def test_the_settings_that_are_named() -> None:
    limits = PAGE[PAGE.index("## Limits") :]
    named = set(re.findall(r"`([a-z_]+_[a-z]+|searches|waiting)`", limits))
    assert named <= set(WebSettings.model_fields)
    assert {"page_rows", "query_seconds", "searches", "live_clients"} <= named
