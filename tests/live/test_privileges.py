"""The agent gives up its rights once the sockets are open, and goes on capturing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import net
from tests.support import ROOT, hepcat

#: Opens a ring, gives up rights, and captures what it sends itself over loopback.
CHILD = """
import os, socket, sys, threading
from hepcat.sources.af_packet import RingSource, open_rings
from hepcat.sources.filters import compile_filter
from hepcat.pipeline import privileges
made = compile_filter("udp port 5099")
sources = [RingSource("lo", made), RingSource("any", made), *open_rings("lo", 2, made, 2**19)]
privileges.settle(sys.argv[1] or None)

def status():
    with open(f"/proc/self/task/{threading.get_native_id()}/status") as file:
        lines = dict(line.split(":\\t", 1) for line in file if ":\\t" in line)
    names = ("CapEff", "CapPrm", "CapInh", "CapAmb")
    print(sum(int(lines[name], 16) for name in names), lines["NoNewPrivs"].strip(), lines["Uid"].split()[0])

status()
thread = threading.Thread(target=status); thread.start(); thread.join()
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    print("packet sockets")
except PermissionError:
    print("no packet sockets")
sources[0].set_filter(made)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for _ in range(5):
        sock.sendto(b"x", ("127.0.0.1", 5099))
count = []
for source in sources:
    count.append(0)
    while (window := source.next_window(0.5)) is not None:
        count[-1] += window.packets.n
        source.release(window)
    source.close()
print(count[0], count[1], count[2] + count[3])
"""


def child(words: list[str], user: str) -> list[str]:
    with net.namespace() as where:
        command = [*words, sys.executable, "-c", CHILD, user]
        done = subprocess.run(
            ["ip", "netns", "exec", where.name, *command], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


def test_root_becomes_a_user_without_capabilities() -> None:
    net.need()
    assert child([], "nobody") == ["0 1 65534", "0 1 65534", "no packet sockets", "5 5 5"]


def test_a_user_with_ambient_capabilities_gives_them_up() -> None:
    """As systemd starts it: not root, AmbientCapabilities=CAP_NET_RAW."""
    net.need()
    caps = "-all,+net_raw"
    setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    setpriv += [f"--inh-caps={caps}", f"--ambient-caps={caps}"]
    if subprocess.run([*setpriv, sys.executable, "-c", "import hepcat"], capture_output=True).returncode != 0:
        pytest.skip("no setpriv (package util-linux), or another user may not read this Python")
    assert child(setpriv, "") == ["0 1 65534", "0 1 65534", "no packet sockets", "5 5 5"]


def test_root_without_a_user_stays_root() -> None:
    net.need()
    first, second, sockets, counts = child([], "")
    assert first == second
    assert not first.startswith("0 ")
    assert (sockets, counts) == ("packet sockets", "5 5 5")


def test_the_systemd_unit_has_what_it_takes() -> None:
    unit = (ROOT / "packaging" / "hepcat-agent.service").read_text()
    lines = {key: value for key, _, value in (line.partition("=") for line in unit.splitlines()) if value}
    assert lines["AmbientCapabilities"].split()[0] == "CAP_NET_RAW"
    assert "AF_PACKET" in lines["RestrictAddressFamilies"]
    assert "PrivateNetwork" not in lines


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    unit = (ROOT / "packaging" / "hepcat-agent.service").read_text()
    copy = tmp_path / "hepcat-agent.service"
    copy.write_text(unit.replace("/usr/local/bin/hepcat", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_configuration_of_the_unit_is_sound() -> None:
    """packaging/agent.toml passes, and its spool is in the folder that the unit gives the agent."""
    example = ROOT / "packaging" / "agent.toml"
    assert "nothing was captured" in hepcat("agent", "-c", str(example), "--dry-run").stdout
    unit = (ROOT / "packaging" / "hepcat-agent.service").read_text()
    assert "StateDirectory=hepcat-agent" in unit
    assert 'spool = "/var/lib/hepcat-agent"' in example.read_text()
