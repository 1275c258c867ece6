"""How long `hepcat --help` takes, and what a server that has nothing to do keeps in memory."""

import statistics
import subprocess
import time

from hepcat.bench.measure import Context, Row
from hepcat.bench.processes import hepcat
from hepcat.bench.server import Server

NAME = "hepcat --help, and an idle server"


def measure(context: Context) -> list[Row]:
    """Median of five after one to warm the disk's cache; then a server, five seconds after its start."""
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        subprocess.run(hepcat("--help"), check=True, capture_output=True)
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds[1:])
    with Server(context.work / "idle") as server:
        time.sleep(1 if context.quick else 5)
        idle = server.child.rss() / 2**20
        server.child.end()
    return [
        Row("hepcat --help, median of five", f"{median:.3f} s", "at most 0.25 s", "", median <= 0.25, median),
        Row("resident memory, idle server", f"{idle:.0f} MiB", value=idle),
    ]
