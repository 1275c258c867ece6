"""The doctor sees what is wrong with an interface, a filter, a setting; and says what to type."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hepcat.config.loader import load_settings
from hepcat.pipeline import doctor
from hepcat.pipeline.doctor import Finding, examine, worst
from hepcat.pipeline.interfaces import Interface, interface
from tests.live import net
from tests.live.net import Namespace
from tests.support import ROOT, wait_for


def run(where: Namespace, *options: str) -> tuple[int, list[Finding]]:
    """Run it in a namespace, which has a /sys of its own then."""
    command = [sys.executable, "-m", "hepcat", "doctor", "--json", *options]
    done = subprocess.run(
        ["ip", "netns", "exec", where.name, *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert not done.stderr
    return done.returncode, [Finding(**row) for row in json.loads(done.stdout)]


def of(findings: list[Finding], check: str, subject: str = "") -> list[Finding]:
    return [f for f in findings if f.check == check and subject in ("", f.subject)]


def config(tmp_path: Path, profile: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text('[[agent.targets]]\nurls = ["udp://127.0.0.1:9060"]\n[[agent.profiles]]\n' + profile)
    return path


def test_a_healthy_interface() -> None:
    net.need()
    with net.pair() as (a, _):
        a.run("ethtool", "-K", "va", "gro", "off", "tso", "off", "gso", "off")
        code, findings = run(a, "--dev", "va")
    assert code == 0
    assert worst(findings) != "bad"
    assert of(findings, "rights")[0].found == "root"
    assert of(findings, "interface", "va") == [Finding("interface", "va", "ok", "up, Ethernet")]
    assert of(findings, "offload", "va") == [Finding("offload", "va", "ok", "none that merges packets")]
    assert of(findings, "memory")[0].level == "ok"


def test_down_and_missing() -> None:
    net.need()
    with net.pair() as (a, b):
        a.ip("link set va down")
        code, findings = run(a, "--dev", "va", "--dev", "nosuch0")
        down, missing = of(findings, "interface")
        assert code == 1
        assert (down.level, down.command) == ("bad", "ip link set va up")
        assert missing.level == "bad"
        assert "lo, va" in missing.found
        wait_for(lambda: b.run("cat", "/sys/class/net/vb/carrier").strip() == "0", what="carrier lost")
        (carrier,) = of(run(b, "--dev", "vb")[1], "interface")
        assert (carrier.level, carrier.found) == ("warn", "it is up, but has no carrier")


def test_offloads() -> None:
    net.need()
    with net.pair() as (a, _):
        a.run("ethtool", "-K", "va", "gro", "on", "rx-udp-gro-forwarding", "on", "rx-gro-list", "on")
        findings = of(run(a, "--dev", "va")[1], "offload", "va")
    by_level = {level: [f for f in findings if f.level == level] for level in ("ok", "warn")}
    assert {f.command for f in by_level["warn"]} == {
        "ethtool -K va rx-gro-list off",
        "ethtool -K va rx-udp-gro-forwarding off",
    }
    assert "rx-gro" in by_level["ok"][0].found


def test_short_snap_length(tmp_path: Path) -> None:
    net.need()
    path = config(tmp_path, 'dev = ["va"]\nsnap_len = 256\n')
    with net.pair() as (a, _):
        a.run("ethtool", "-K", "va", "gro", "on")
        (finding,) = of(run(a, "--config", str(path))[1], "offload", "va")
    assert finding.level == "warn"
    assert "snap_len 256 cuts" in finding.found
    assert finding.command.startswith("ethtool -K va gro off")


def test_promiscuous_and_others() -> None:
    net.need()
    from hepcat.sources.af_packet import RingSource

    with net.pair() as (a, _):
        with a.entered():
            source = RingSource("va")
        findings = run(a, "--dev", "va")[1]
        source.close()
    assert of(findings, "interface", "va")[0].found == "up, Ethernet, in promiscuous mode now"
    assert of(findings, "sniffers")[0].found.startswith("1 others")


def test_the_table() -> None:
    """Without an interface named; in a namespace that has none but loopback."""
    net.need()
    with net.namespace() as where:
        command = [sys.executable, "-m", "hepcat", "doctor"]
        done = subprocess.run(
            ["ip", "netns", "exec", where.name, *command],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 1
    assert "BAD  interface any" in done.stdout
    assert "-> ip link set DEV up" in done.stdout


def test_no_right() -> None:
    net.need()
    code = (
        "import os, cypcap, hepcat.sources.af_packet; from hepcat.pipeline.doctor import examine; "
        "os.setuid(65534); "
        "print(*[(f.level, f.command) for f in examine(('lo',)) if f.check == 'rights'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("('bad', ")
    assert "CAP_NET_RAW" in done.stdout


@pytest.mark.parametrize(
    ("profile", "check", "words"),
    [
        ('dev = ["lo"]\nfilter = "prot 5060"\n', "filter", 'filter "prot 5060": '),
        ('filter = "ether host 1:2:3:4:5:6"\n', "filter", "Ethernet's header"),
        ('dev = ["lo"]\nworkers = 64\nring_buffer = "2GiB"\n', "memory", "128.0 GiB for the rings"),
    ],
)
def test_settings(tmp_path: Path, profile: str, check: str, words: str) -> None:
    findings = examine((), load_settings(config(tmp_path, profile)))
    (finding,) = [f for f in of(findings, check) if f.level == "bad"]
    assert words in finding.found
    assert finding.command


def test_root_without_a_user(tmp_path: Path) -> None:
    net.need()
    settings = load_settings(config(tmp_path, 'dev = ["lo"]\n'))
    assert of(examine((), settings), "rights", "user")[0].level == "warn"


def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """Let the doctor read these files instead of those under /proc."""
    real = Path.read_text

    def read_text(self: Path, *more: object) -> str:
        return files[str(self)] if str(self) in files else real(self, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", read_text)


def test_kernel_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/sys/net/core/rmem_max": "212992\n",
        "/proc/sys/net/core/netdev_max_backlog": "1000\n",
        "/proc/sys/net/core/bpf_jit_enable": "0\n",
        "/proc/net/softnet_stat": "00000010 0000000a 00000002 0\n00000010 00000001 00000000 0\n",
    }
    proc(tmp_path, monkeypatch, files)
    commands = {f.command for f in examine(("lo",)) if f.level == "warn"}
    assert "sysctl -w net.core.rmem_max=33554432" in commands
    assert "sysctl -w net.core.netdev_max_backlog=10000" in commands
    assert "sysctl -w net.core.bpf_jit_enable=1" in commands
    (lost,) = [f for f in examine(("lo",)) if f.subject == "backlog"]
    assert lost.found.startswith("11 packets")


def test_lost_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"rx_packets": 1000, "rx_dropped": 50, "rx_missed_errors": 7, "rx_fifo_errors": 1}
    monkeypatch.setattr(Interface, "statistics", lambda self: counts)
    missed, dropped = of(examine(("lo",)), "losses", "lo")
    assert missed.found.startswith("8 packets")
    assert "50 of 1000" in dropped.found


@pytest.mark.parametrize(("state", "status", "level"), [(0, 0, "ok"), (5, 0x40, "warn"), (0, 0x40, "warn")])
def test_the_clock(monkeypatch: pytest.MonkeyPatch, state: int, status: int, level: str) -> None:
    class Libc:
        @staticmethod
        def adjtimex(where: object) -> int:
            where._obj.status = status  # type: ignore[attr-defined]
            return state

    monkeypatch.setattr(doctor.ctypes, "CDLL", lambda *_, **__: Libc)
    (finding,) = doctor._clock()
    assert finding.level == level


def test_interfaces_of_this_machine() -> None:
    lo = interface("lo")
    assert lo is not None
    assert lo.loopback
    assert lo.link == "loopback"
    assert lo.has_ethernet
    assert interface("nosuch0") is None
    assert interface("a-name-that-is-too-long") is None
