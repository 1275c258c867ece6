"""`hepcat agent` with files: every message of a capture, at its pace, and the frames written again."""

import gzip
import os
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.agent.hep import Message, UdpCollector, check_same, key_of, until
from tests.agent.running import RunningAgent, final_counters
from tests.agent.traffic import frame, sip, write_capture
from tests.support import SHARED, hepcat, need
from tests.wire import make_rtcp

SIP_FILES = (
    "ndpi-FAX-Call-t38-CA-TDM-SIP-FB-1.pcap",
    "ndpi-http_on_sip_port.pcap",
    "ndpi-sip_hello.pcapng",
    "suricata-sip-compact-form.pcap",
    "suricata-sip-header-multi-value.pcap",
    "suricata-sip-sdp.pcap",
    "suricata-sip-tcp.pcap",
    "zeek-invalid-content-length.pcap",
    "zeek-sip-junk-before-request.pcap",
    "zeek-sip-long-request-response-paths.pcap",
    "zeek-wireshark.pcap",
)


def capture(name: str) -> Path:
    path = SHARED / "captures" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def read(*arguments: str | Path) -> tuple[list[Message], dict[str, object]]:
    """Run an agent on files; return what it sent and its last counters."""
    with UdpCollector() as collector:
        done = hepcat("agent", *map(str, arguments), "--to", collector.url)
        got = collector.close()
    assert "Traceback" not in done.stderr
    counters = final_counters(done.stderr)
    (target,) = counters["targets"].values()
    assert target["taken"] == target["sent"] == len(got) == counters["forwarded"]
    return got, counters


def tshark(path: Path, *options: str) -> list[str]:
    need("tshark")
    done = subprocess.run(["tshark", "-r", path, *options], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def call_ids(path: Path) -> Counter[str]:
    """Return the Call-IDs that tshark finds in real SIP, message by message."""
    words = ("-Y", "sip.Method or sip.Status-Line", "-T", "fields", "-E", "aggregator=|", "-e", "sip.Call-ID")
    return Counter(found for line in tshark(path, *words) for found in line.split("|"))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "sip.cfg"
    path.write_text('capture[sip] {\n  if (parse_sip()) { send_hep("hepsocket"); }\n  drop;\n}\n')
    return path


def test_every_message_of_the_captures(plan: Path) -> None:
    paths = [capture(name) for name in SIP_FILES]
    got, counters = read(*(word for path in paths for word in ("-r", path)), "--plan", plan)
    wanted = sum((call_ids(path) for path in paths), Counter[str]())
    assert Counter(message.key[0] for message in got) == wanted
    assert wanted.total() > 150
    assert counters["packets"] == sum(len(tshark(path)) for path in paths)


@pytest.mark.parametrize("name", ["zeek-wireshark.pcap", "suricata-sip-tcp.pcap", "ndpi-sip_hello.pcapng"])
def test_addresses_and_times_are_those_of_tshark(name: str, plan: Path) -> None:
    path = capture(name)
    got, _ = read("-r", path, "--plan", plan)
    kind = "tcp" if "tcp" in name else "udp"
    fields = ("frame.time_epoch", "ip.src", "ip.dst", f"{kind}.srcport", f"{kind}.dstport")
    lines = tshark(path, "-Y", "sip", "-T", "fields", *(part for field in fields for part in ("-e", field)))
    shown = [
        "\t".join((f"{m.ts:.6f}", m.src[0], m.dst[0], str(m.src[1]), str(m.dst[1])))
        for m in sorted(got, key=lambda m: m.ts)
    ]
    assert shown == [f"{float(at):.6f}\t{rest}" for at, _, rest in (line.partition("\t") for line in lines)]


def test_a_filter_is_applied_to_files(tmp_path: Path, plan: Path) -> None:
    messages = [sip(f"f-{i}", size=50 * i) for i in range(40)]
    frames = [frame(message, 5060 + i % 4, 7000) for i, message in enumerate(messages)]
    path = write_capture(tmp_path / "a.pcap", frames)
    got, counters = read("-r", path, "--plan", plan, "--filter", "udp port 5061")
    check_same([m.key for m in got], [key_of(m) for m in messages[1::4]])
    assert counters["drop_filter"] == 30


def test_the_built_in_plan_ties_rtcp_to_its_call(tmp_path: Path) -> None:
    body = "v=0\r\no=a 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    offer = sip("c-1", "INVITE", body=body.format("10.9.0.1"))
    answer = sip("c-1", "INVITE", 200, body=body.format("10.9.0.2"))
    rtp, rtcp = b"\x80\0" + bytes(170), make_rtcp.sr(5, 1, 2, 7, 1000, make_rtcp.block(1))
    frames = [frame(offer), frame(answer), frame(rtp, 4000, 4000), frame(rtcp, 4001, 4001)]
    path = write_capture(tmp_path / "a.pcap", frames)
    got, counters = read("-r", path)
    assert [message.kind for message in got] == [1, 1, 5]
    assert got[2].correlation == "c-1"
    assert b'"packets":' in got[2].payload
    assert counters["drop_plan"] == 1, "RTP"


def test_a_file_that_ends_early_says_so_after_what_could_be_read(tmp_path: Path, plan: Path) -> None:
    path = write_capture(tmp_path / "a.pcap", [frame(sip(f"c-{i}")) for i in range(10)])
    path.write_bytes(path.read_bytes()[:-30])
    with UdpCollector() as collector:
        done = hepcat("agent", "-r", str(path), "--plan", str(plan), "--to", collector.url, check=False)
        got = collector.close()
    assert done.returncode == 1
    assert "a.pcap" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(got) == 9


def test_the_recorded_pace(tmp_path: Path, plan: Path) -> None:
    path = write_capture(tmp_path / "a.pcap", [frame(sip(f"c-{i}")) for i in range(6)], apart=0.25)
    begun = time.monotonic()
    got, _ = read("-r", path, "--plan", plan, "--realtime")
    assert time.monotonic() - begun > 1.2
    assert [m.key[0] for m in got] == [f"c-{i}" for i in range(6)]


def frames_of(*paths: Path) -> list[tuple[str, ...]]:
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "ip.src", "udp.checksum", "vlan.id")
    words = [part for field in fields for part in ("-e", field)]
    return [tuple(line.split("\t")) for path in paths for line in tshark(path, "-T", "fields", *words)]


@pytest.mark.parametrize(
    "name", ["zeek-wireshark.pcap", "ndpi-sip_hello.pcapng", "zeek-mixed-vlan-mpls.pcap", "zeek-vxlan.pcap"]
)
def test_frames_written_are_frames_read(name: str, tmp_path: Path) -> None:
    source, copy = capture(name), tmp_path / "copy.pcap"
    read("-r", source, "-w", copy)
    assert frames_of(copy) == frames_of(source)


def test_frames_are_written_in_parts(tmp_path: Path) -> None:
    source = capture("zeek-wireshark.pcap")
    read("-r", source, "-w", tmp_path / "p.pcap", "--rotate-size", "2KiB", "--gzip")
    paths = sorted(tmp_path.glob("p*.pcap.gz"))
    assert len(paths) > 10
    for path in paths:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    assert sorted(frames_of(*(path.with_suffix("") for path in paths))) == sorted(frames_of(source))


def test_frames_with_another_link_header_keep_it(tmp_path: Path) -> None:
    """The frames of a file with several link types, too: a pcap file has one, so they get one file each."""
    cooked, plain = capture("zeek-linux_dlt_sll2.pcap"), capture("zeek-wireshark.pcap")
    read("-r", cooked, "-r", plain, "-w", tmp_path / "copy.pcap")
    assert frames_of(tmp_path / "copy.pcap") == frames_of(plain)
    assert frames_of(tmp_path / "copy-link276.pcap") == frames_of(cooked)


def test_signals_while_a_file_is_read(plan: Path, tmp_path: Path) -> None:
    """SIGHUP reads the plan again and goes on; SIGTERM ends it, and what was read has been sent."""
    capture = write_capture(tmp_path / "a.pcap", [frame(sip(f"c-{i}")) for i in range(12_000)], apart=0.02)
    with UdpCollector() as collector:
        words = ["-r", capture, "--plan", plan, "--to", collector.url, "--realtime"]
        agent = RunningAgent(tmp_path, words)
        try:
            assert until(lambda: len(collector.datagrams) > 5)
            plan.write_text("capture[none] { drop; }")
            agent.hangup()
            assert until(lambda: len(agent.events("capture plans reloaded")) == 1)
            assert until(lambda: agent.stats()["total"]["dropped"].get("plan", 0) > 5)
            counters = agent.finish()
        finally:
            agent.__exit__()
        got = collector.close()
    assert counters["packets"] < 12_000
    assert counters["forwarded"] == len(got)
    assert counters["messages"] == counters["forwarded"] + counters["drop_plan"]


def test_a_pipe_whose_writer_pauses_does_not_hold_the_end(plan: Path, tmp_path: Path) -> None:
    """What came is sent at once, even before a record that is half there; SIGTERM ends it."""
    whole = write_capture(tmp_path / "a.pcap", [frame(sip(f"c-{i}")) for i in range(3)]).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with UdpCollector() as collector, open(pipe, "r+b", buffering=0) as writer:
        agent = RunningAgent(tmp_path, ["-r", pipe, "--plan", plan, "--to", collector.url])
        try:
            writer.write(whole[:-20])
            assert until(lambda: len(collector.datagrams) == 2)
            before = time.monotonic()
            counters = agent.finish()
            assert time.monotonic() - before < 60
        finally:
            agent.__exit__()
    assert counters["packets"] == 2
