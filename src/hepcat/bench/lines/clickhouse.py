"""HEP over UDP into ClickHouse as two shards: generator, hepcat and both servers on the same cores.

A message counts when it is in a table, which is after the spool; all that was sent has to be there at the
end. The rate is that from the first message sent to the last one in a table.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hepcat.bench.clickhouse import ClickHouse, cluster_url, two_shards
from hepcat.bench.measure import Context, Row
from hepcat.bench.processes import Child, free_port, hepcat, run_json

NAME = "HEP over UDP into ClickHouse, two shards"

#: Messages a second that have to get there.
_MUST: Final = 50_000
#: Rates to try, the highest that gets there counts; and how often each is tried on a machine with other work.
_RATES: Final = (55_000, 70_000, 85_000, 100_000, 120_000)
_ATTEMPTS: Final = 2
_CONFIG: Final = """
data = "{data}"
stores = ["click"]
[[databases]]
name = "click"
url_file = "{url}"

[web]
enabled = false
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: asked and reached are messages a second; there: rows in the tables; CPU in us a message."""

    asked: float
    reached: float
    sent: int
    there: int
    own_us: float
    servers_us: float


def measure(context: Context) -> list[Row]:
    """Look for the highest rate at which all that is sent gets into the tables."""
    seconds = 6.0 if context.quick else 20.0
    best: Trial | None = None
    with two_shards(context.work / "clickhouse") as servers:
        url = context.work / "clickhouse.url"
        url.write_text(cluster_url(servers) + "\n")
        for rate in _RATES:
            trial = _tries(context, servers, url, rate, seconds)
            if trial is None:
                break
            best = trial
    if best is None:
        return [Row(NAME, f"not even {_RATES[0]:,} a second", f"{_MUST:,} a second", passed=False)]
    return [
        Row(
            f"{NAME}, generator and all on the same cores, for {seconds:.0f} s",
            f"{best.reached:,.0f} a second; sent {best.sent:,}, in the tables {best.there:,}",
            f"at least {_MUST:,} a second, nothing lost",
            f"CPU a message: hepcat {best.own_us:.1f} us, both servers {best.servers_us:.1f} us",
            best.reached >= _MUST and best.there == best.sent,
            best.reached,
            {"own_us": best.own_us, "servers_us": best.servers_us},
        )
    ]


def _tries(
    context: Context, servers: Sequence[ClickHouse], url: Path, rate: float, seconds: float
) -> Trial | None:
    """Return a run at that rate in which nothing was lost and the generator kept up; None where none is."""
    for _ in range(_ATTEMPTS):
        trial = _trial(context.work / "serve", servers, url, rate, seconds)
        lost = trial.sent - trial.there
        cpu = f"{trial.own_us:.1f} + {trial.servers_us:.1f} us CPU"
        context.say(f"  {rate:,.0f} a second: {trial.reached:,.0f} reached, {lost:,} lost, {cpu}")
        if lost == 0 and trial.reached >= 0.8 * rate:
            return trial
    return None


def _trial(work: Path, servers: Sequence[ClickHouse], url: Path, rate: float, seconds: float) -> Trial:
    """Run generator and server against empty tables."""
    work.mkdir(parents=True, exist_ok=True)
    config, data = work / "hepcat.toml", work / "data"
    config.write_text(_CONFIG.format(data=data, url=url))
    for server in servers:
        server.admin("DROP TABLE IF EXISTS sip_local")
        server.admin("DROP TABLE IF EXISTS sip")
    _run("db", "create", "--config", str(config))
    port = free_port(socket.SOCK_DGRAM)
    hep = f"udp://127.0.0.1:{port}"
    try:
        with Child("serve", "--config", str(config), "--hep", hep, log=work / "serve.log") as child:
            _wait_ready(data, child, work / "serve.log")
            own, theirs = child.cpu_seconds(), _cpu(servers)
            begin = time.perf_counter()
            sent = run_json(
                "bench", "hep", "--to", hep, "--rate", str(rate), "--seconds", str(seconds), "--json"
            )["messages"]
            there, end = _settle(servers, sent)
            own, theirs = child.cpu_seconds() - own, _cpu(servers) - theirs
            child.end()
    finally:
        shutil.rmtree(data, ignore_errors=True)
    each = 1e6 / max(there, 1)
    return Trial(rate, there / (end - begin), sent, there, own * each, theirs * each)


def _settle(servers: Sequence[ClickHouse], sent: int) -> tuple[int, float]:
    """Wait until as many rows are there as were sent, or no more come; return how many, and when that was."""
    there, since = -1, time.perf_counter()
    while True:
        now = sum(int(server.admin("SELECT count() FROM sip_local")) for server in servers)
        if now != there:
            there, since = now, time.perf_counter()
        if there >= sent or time.perf_counter() - since > 5:
            return there, since
        time.sleep(0.1)


def _cpu(servers: Sequence[ClickHouse]) -> float:
    return sum(server.cpu_seconds() for server in servers)


def _wait_ready(data: Path, child: Child, log: Path) -> None:
    deadline = time.monotonic() + 20
    ask = hepcat("ctl", "stats", "--json", "--data", str(data))
    while subprocess.run(ask, capture_output=True, timeout=30).returncode:
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"hepcat serve did not start; see {log}")
        time.sleep(0.1)


def _run(*words: str) -> None:
    done = subprocess.run(hepcat(*words), capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"hepcat {' '.join(words[:2])}: {(done.stderr or done.stdout).strip()[-300:]}")
