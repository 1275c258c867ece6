"""The life of `hepcat agent`: what it says before it starts, reload, stop, users, load, targets gone."""

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.hep import StreamCollector, UdpCollector, check_same, key_of, until
from tests.agent.running import RunningAgent
from tests.agent.traffic import Sender, frame, sip, write_capture
from tests.live import net
from tests.live.net import Namespace
from tests.support import HEPCAT, ROOT, hepcat, need

PLAN = 'capture[sip] {\n  if (parse_sip()) { send_hep("hepsocket"); }\n  drop;\n}\n'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.cfg"
    path.write_text(PLAN)
    return path


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A namespace of its own: nobody else's traffic on its loopback."""
    net.need()
    with net.namespace() as made:
        made.dev = "lo"
        yield made


def live(place: Namespace, folder: Path, *arguments: str | Path) -> RunningAgent:
    words = ["ip", "netns", "exec", place.name]
    options = ["--dev", "lo", "--filter", "udp port 5060", "--no-rtcp", *arguments]
    return RunningAgent(folder, options, words, place.socket)


def send(place: Namespace, messages: list[bytes]) -> None:
    with place.socket() as sock:
        sock.bind(("127.0.0.1", 5062))
        for message in messages:
            sock.sendto(message, ("127.0.0.1", 5060))


# ---- before the start


def test_a_dry_run_says_what_would_be_done(tmp_path: Path, plan: Path) -> None:
    done = hepcat("agent", "--dry-run", "--to", "udp://192.0.2.1:9060", "--dev", "lo", "--plan", str(plan))
    assert "profile sip: lo" in done.stdout
    assert "filter: portrange 5060-5091" in done.stdout
    assert "BPF instructions" in done.stdout
    assert f"plan: {plan}" in done.stdout
    assert "functions: parse_sip, send_hep" in done.stdout
    assert "target hepsocket: hep to udp://192.0.2.1:9060" in done.stdout
    assert done.stdout.endswith("nothing was captured (--dry-run)\n")


def test_a_dry_run_warns(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        '[[agent.profiles]]\nname = "tunnels"\nfilter = "port 5060"\ncapture_filter = ["ip_to_ip"]\n'
        '[[agent.targets]]\nname = "t"\nurls = ["tcp://192.0.2.1:9060"]\n'
    )
    done = hepcat("agent", "--dry-run", "--config", str(path))
    assert "warning: profile tunnels" in done.stdout
    assert "5060-5090" in done.stdout


TO = ("--to", "udp://127.0.0.1:9")
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "filter": ((*TO, "--filter", "port port"), "port port"),
    "interface": ((*TO, "--dev", "nosuch0"), "there is no interface nosuch0"),
    "no target": (("--dev", "lo"), "nothing to send to"),
    "target without a scheme": (("--to", "127.0.0.1:9060"), "127.0.0.1:9060"),
    "target of another scheme": (("--to", "ftp://127.0.0.1:9060"), "ftp://127.0.0.1:9060"),
    "target with a wrong port": (("--to", "udp://127.0.0.1:many"), "udp://127.0.0.1:many"),
    "plan missing": ((*TO, "--plan", "{folder}/none.cfg"), "none.cfg"),
    "plan broken": ((*TO, "--plan", "{folder}/broken.cfg"), "broken.cfg:2:"),
    "plan of an unknown function": ((*TO, "--plan", "{folder}/unknown.cfg"), "parse_sips"),
    "plan of an unknown target": ((*TO, "--plan", "{folder}/target.cfg"), "elsewhere"),
    "plan of octets": ((*TO, "--plan", "{folder}/octets.cfg"), "octets.cfg"),
    "file missing": ((*TO, "-r", "{folder}/none.pcap"), "none.pcap"),
    "no capture": ((*TO, "-r", "{folder}/broken.cfg"), "broken.cfg"),
    "folder of -w": ((*TO, "-r", "{folder}/good.pcap", "-w", "{folder}/none/a.pcap"), "cannot write to"),
    "file missing behind a good one": (
        (*TO, "-r", "{folder}/good.pcap", "-r", "{folder}/none.pcap"),
        "none.pcap",
    ),
    "written over what is read": (
        (*TO, "-r", "{folder}/good.pcap", "-w", "{folder}/good.pcap"),
        "write over",
    ),
    "how to write, and not where": ((*TO, "-r", "{folder}/good.pcap", "--gzip"), "there is no -w"),
    "interface, tried dry": ((*TO, "--dev", "nosuch0", "--dry-run"), "there is no interface nosuch0"),
    "size": ((*TO, "-r", "{folder}/good.pcap", "--rotate-size", "much"), "--rotate-size"),
    "cpus": ((*TO, "--cpu", "a,b"), "--cpu"),
    "cpu that is not there": ((*TO, "--cpu", "4095"), "4095"),
    "cpu below none": ((*TO, "--cpu", "-1", "--dev", "lo"), "cannot run on CPUs -1"),
    "ceiling": ((*TO, "--cpu-limit", "-1"), "--cpu-limit: agent.cpu_limit"),
    "rule": ((*TO, "--shed", "everything"), "--shed: agent.shed"),
    "interface twice": ((*TO, "--dev", "lo", "--dev", "lo"), "profile sip: dev names an interface twice"),
    "interface and all": ((*TO, "--dev", "lo", "--dev", "any"), "profile sip: dev names an interface twice"),
    "target twice": ((*TO, *TO), "names udp://127.0.0.1:9 twice"),
    "filter, as it was written": ((*TO, "--filter", "port port"), 'filter "port port"'),
    "filter of the configuration": (("--config", "{folder}/filter.toml"), 'profile a: filter "port port"'),
    "two sources": (("--config", "{folder}/sources.toml"), "hep and tzsp: make a profile of each"),
    "replacement": (("--config", "{folder}/replace.toml", "--dry-run"), 'ip_replace: "10.0.0.1"'),
    "TLS without a certificate": (("--config", "{folder}/tls.toml"), "certificate"),
    "one name twice": (("--config", "{folder}/twice.toml"), 'two profiles have the same name, "a"'),
    "user": ((*TO, "--user", "nosuchuser", "--dev", "lo"), "nosuchuser"),
    "config missing": (("--config", "{folder}/none.toml"), "none.toml"),
    "config broken": (("--config", "{folder}/broken.toml"), "broken.toml"),
    "port taken": ((*TO, "--dev", "lo", "--http", "127.0.0.1:{taken}"), "{taken}"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_before_anything_starts(name: str, tmp_path: Path) -> None:
    arguments, said = WRONG[name]
    (tmp_path / "broken.cfg").write_text("capture[x] {\n  if (parse_sip() { drop; }\n}\n")
    (tmp_path / "unknown.cfg").write_text("capture[x] { parse_sips(); }")
    (tmp_path / "target.cfg").write_text('capture[x] { send_hep("elsewhere"); }')
    (tmp_path / "octets.cfg").write_bytes(bytes(range(128, 255)))
    (tmp_path / "broken.toml").write_text("[agent]\nnode_id = 'x'\n")
    for file, profile in (
        ("filter", 'filter = "port port"\ncapture_filter = ["rtcp"]'),
        ("sources", 'hep = ["udp://127.0.0.1:9062"]\ntzsp = "127.0.0.1:9063"'),
        ("replace", 'ip_replace = "10.0.0.1"'),
        ("tls", 'hep = ["tls://127.0.0.1:9062"]'),
    ):
        (tmp_path / f"{file}.toml").write_text(
            f'[[agent.profiles]]\nname = "a"\n{profile}\n[[agent.targets]]\nurls = ["udp://127.0.0.1:9"]\n'
        )
    (tmp_path / "twice.toml").write_text("[[agent.profiles]]\nname = 'a'\n" * 2)
    write_capture(tmp_path / "good.pcap", [frame(sip("a"))])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = {"folder": tmp_path, "taken": taken.getsockname()[1]}
        done = hepcat("agent", *(part.format(**words) for part in arguments), check=False)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert said.format(**words) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 15, done.stderr


def test_rtcp_has_a_profile_of_its_own_unless_told_otherwise() -> None:
    with_it = hepcat("agent", "--dry-run", *TO, "--dev", "lo", "--rtcp").stdout
    assert "profile rtcp: lo" in with_it
    assert with_it == hepcat("agent", "--dry-run", *TO, "--dev", "lo").stdout
    assert "profile rtcp" not in hepcat("agent", "--dry-run", *TO, "--dev", "lo", "--no-rtcp").stdout


def test_a_plan_that_sends_nothing_warns(tmp_path: Path) -> None:
    path = tmp_path / "looks.cfg"
    path.write_text("capture[looks] { parse_sip(); }")
    done = hepcat("agent", "--dry-run", *TO, "--dev", "lo", "--plan", str(path))
    assert f"warning: profile sip: {path} sends nothing" in done.stdout


@pytest.mark.parametrize("url", ["udp://127.0.0.1:{port}", "udp://no.such.invalid:9060"])
def test_files_that_reached_nobody_are_no_success(url: str, tmp_path: Path) -> None:
    write_capture(tmp_path / "a.pcap", [frame(sip(f"lost-{i}")) for i in range(300)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        to = url.format(port=closed.getsockname()[1])
    done = hepcat("agent", "-r", str(tmp_path / "a.pcap"), "--to", to, check=False)
    assert done.returncode == 1
    assert "not everything could be sent: hepsocket: " in done.stderr


def test_a_spool_that_has_no_effect_is_told(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    for scheme, told in (("udp", True), ("tcp", False)):
        path.write_text(
            f'[[agent.targets]]\nname = "t"\nurls = ["{scheme}://127.0.0.1:9"]\nspool = "{tmp_path}"\n'
        )
        done = hepcat("agent", "--dry-run", "--config", str(path))
        assert ("target t: spool has no effect over UDP" in done.stdout) is told


def test_an_empty_filter_takes_the_place_of_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        '[[agent.profiles]]\nname = "a"\ndev = ["lo"]\nfilter = "port 5060"\n'
        '[[agent.targets]]\nname = "t"\nurls = ["udp://127.0.0.1:9"]\n'
    )
    assert "filter: port 5060" in hepcat("agent", "--dry-run", "--config", str(path)).stdout
    assert "filter:" not in hepcat("agent", "--dry-run", "--config", str(path), "--filter", "").stdout


def test_a_key_log_that_is_not_there_yet_is_told(tmp_path: Path) -> None:
    write_capture(tmp_path / "a.pcap", [frame(sip("a"))])
    with UdpCollector() as collector:
        done = hepcat(
            "agent", "-r", str(tmp_path / "a.pcap"), "--to", collector.url, "--keylog", str(tmp_path / "none")
        )
    assert "there is no key log yet" in done.stderr + done.stdout


# ---- while it runs


def test_plans_are_read_again(place: Namespace, tmp_path: Path, plan: Path) -> None:
    with (
        UdpCollector(place.socket) as collector,
        live(place, tmp_path, "--plan", plan, "--to", collector.url) as agent,
    ):
        first, second, third, fourth = ([sip(f"{name}-{i}") for i in range(20)] for name in "abcd")
        send(place, first)
        assert until(lambda: agent.stats()["total"]["forwarded"] == 20)
        plan.write_text("capture[none] { drop; }")
        agent.hangup()
        assert until(lambda: len(agent.events("capture plans reloaded")) == 1)
        send(place, second)
        assert until(lambda: agent.stats()["total"]["messages"] == 40)
        plan.write_text("capture[broken] { if }")
        agent.hangup()
        assert until(lambda: len(agent.events("not reloaded; what was there stays in force")) >= 1)
        send(place, third)
        assert until(lambda: agent.stats()["total"]["messages"] == 60)
        assert agent.stats()["total"]["dropped"]["plan"] == 40
        plan.write_text(PLAN)
        agent.hangup()
        assert until(lambda: len(agent.events("capture plans reloaded")) == 2)
        send(place, fourth)
        assert until(lambda: agent.stats()["total"]["forwarded"] == 40)
        agent.settled()
        agent.finish()
        check_same([m.key for m in collector.close()], map(key_of, first + fourth))


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_loses_nothing_that_was_seen(place: Namespace, tmp_path: Path, plan: Path, sig: int) -> None:
    messages = [sip(f"s-{i}", size=i % 500) for i in range(2000)]
    with StreamCollector(None, place.socket) as collector:
        with live(place, tmp_path, "--plan", plan, "--to", collector.url) as agent:
            send(place, messages)
            assert agent.stop(sig) == 0
            assert "Traceback" not in agent.text
        until(lambda: len(collector.messages) >= len(messages))
        check_same([m.key for m in collector.close()], map(key_of, messages), agent.text[-1500:])


def test_a_target_that_is_new_wants_a_restart(place: Namespace, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"

    def write(target: str, url: str) -> None:
        path.write_text(
            f"""[[agent.profiles]]\nname = "a"\nplan_text = 'capture {{ send_hep("{target}"); }}'\n"""
            f'[[agent.targets]]\nname = "{target}"\nurls = ["{url}"]\n'
        )

    with UdpCollector(place.socket) as collector:
        write("first", collector.url)
        with live(place, tmp_path, "--config", path) as agent:
            write("other", collector.url)
            agent.hangup()
            name = "not reloaded; what was there stays in force"
            assert until(lambda: len(agent.events(name)) == 1)
            assert 'its plan sends to "other"' in agent.events(name)[0]["problem"]
            assert "Restart" in agent.events(name)[0]["hint"]
            write("first", "udp://127.0.0.1:9")
            agent.hangup()
            assert until(lambda: len(agent.events("targets change only with a restart")) == 1)
            told = "but for their plans, these profiles change only with a restart"
            assert not agent.events(told)
            path.write_text(
                path.read_text().replace("[[agent.targets]]", "snap_len = 999\n[[agent.targets]]")
            )
            agent.hangup()
            assert until(lambda: [event["profiles"] for event in agent.events(told)] == [["a"]])
            send(place, [sip("a")])
            assert until(lambda: len(collector.datagrams) == 1)


def test_it_stops_by_itself(place: Namespace, tmp_path: Path, plan: Path) -> None:
    options = ("--plan", plan, "--to", "udp://127.0.0.1:9", "--seconds", "0.5")
    agent = live(place, tmp_path, *options)
    assert agent.process.wait(120) == 0
    assert "capturing" in agent.text


def test_what_loopback_shows_twice_is_taken_once(place: Namespace, tmp_path: Path, plan: Path) -> None:
    messages = [sip(f"lo-{i}") for i in range(100)]
    with UdpCollector(place.socket) as collector:
        with live(place, tmp_path, "--plan", plan, "--to", collector.url, "-w", tmp_path / "w.pcap") as agent:
            send(place, messages)
            assert until(lambda: agent.stats()["total"]["forwarded"] >= 100)
            stats = agent.settled()
            agent.finish()
        assert stats["total"]["dropped"]["outgoing"] == stats["total"]["received"] - 100 >= 100
        check_same([m.key for m in collector.close()], map(key_of, messages))


def test_tags_are_put_back_into_the_frames_that_are_kept(tmp_path: Path, plan: Path) -> None:
    net.need()
    need("tshark")
    with net.pair() as (a, b):
        words = ["--dev", "vb", "--filter", "udp port 5060", "--no-rtcp", "--to", "udp://127.0.0.1:9"]
        written = ["-w", tmp_path / "t.pcap", "--rotate-seconds", "0.4"]
        with RunningAgent(tmp_path, [*words, *written], ["ip", "netns", "exec", b.name], b.socket) as agent:
            frames = [frame(sip(f"v-{i}"), tags=(0x2005, 7)[: i % 3]) for i in range(30)]
            for part in (frames[:15], frames[15:]):
                net.send_frames(a, part)
                assert until(lambda: bool(list(tmp_path.glob("t*.pcap"))))
                time.sleep(0.6)
            assert until(lambda: agent.stats()["total"]["received"] >= 30)
            agent.finish()
        paths = sorted(tmp_path.glob("t*.pcap"))
        assert len(paths) >= 2, "a new file every 0.4 s"
        lines = []
        for path in paths:
            words = [
                "tshark",
                "-r",
                str(path),
                "-T",
                "fields",
                "-e",
                "vlan.id",
                "-e",
                "sip.Call-ID",
                "-e",
                "frame.len",
            ]
            lines += subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        wanted = [("", "5", "5,7")[i % 3] + f"\tv-{i}\t{len(one)}" for i, one in enumerate(frames)]
        assert sorted(lines) == sorted(wanted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_is_given_up_and_capture_goes_on(place: Namespace, tmp_path: Path, plan: Path) -> None:
    """TCP and fragments come after the rights are gone: all that reads them must be there by then."""
    messages = [sip(f"u-{i}", size=200 * i) for i in range(40)]
    words = ("--plan", plan, "--user", "nobody")
    with UdpCollector(place.socket) as collector:
        with live(place, tmp_path, *words, "--filter", "port 5060", "--to", collector.url) as agent:
            text = Path(f"/proc/{agent.process.pid}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            assert "0" not in fields["Uid"].split()
            assert {fields[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
            assert fields["NoNewPrivs"] == "1"
            place.ip("link set lo mtu 1500")
            send(place, messages)
            with (
                place.socket(kind=socket.SOCK_STREAM) as server,
                place.socket(kind=socket.SOCK_STREAM) as client,
            ):
                server.bind(("127.0.0.1", 5060))
                server.listen()
                client.connect(("127.0.0.1", 5060))
                client.sendall(b"".join(sip(f"tcp-{i}", size=300) for i in range(20)))
                messages += [sip(f"tcp-{i}", size=300) for i in range(20)]
            assert until(lambda: agent.stats()["total"]["forwarded"] >= 60), agent.text[-2000:]
            agent.finish()
        check_same([m.key for m in collector.close()], map(key_of, messages))


def test_above_the_ceiling_load_is_shed_and_counted(place: Namespace, tmp_path: Path, plan: Path) -> None:
    with UdpCollector(place.socket) as collector:
        words = ("--plan", plan, "--to", collector.url, "--cpu-limit", "1", "--shed", "calls")
        with live(place, tmp_path, *words) as agent:
            senders = [Sender(place.socket(), ("127.0.0.1", 5060), pause=0.0002, size=900) for _ in range(2)]
            for sender in senders:
                sender.start()
            shed = until(lambda: agent.stats()["total"]["dropped"].get("shed", 0) > 0, 60)
            sent = sum(len(sender.end()) for sender in senders)
            assert shed, agent.stats()
            assert until(lambda: agent.stats()["total"]["messages"] >= sent, 60)
            stats = agent.settled()
            counters = agent.finish()
        got = collector.close()
    assert counters["drop_shed"] == stats["total"]["stages"]["messages"]["shed"]
    assert len(got) == counters["forwarded"] == sent - counters["drop_shed"]


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_a_target_goes_away_and_comes_back(kind: str, place: Namespace, tmp_path: Path) -> None:
    """Three times in the middle of load, the last time for longer than memory lasts: every message once."""
    context, more = None, ""
    if kind == "tls":
        context, more = tls_files(tmp_path)
    with StreamCollector(context, place.socket) as collector:
        config = tmp_path / "agent.toml"
        config.write_text(
            "[[agent.profiles]]\nname = 'sip'\ndev = ['lo']\nfilter = 'udp port 5060'\n"
            f"[[agent.targets]]\nname = 'out'\nurls = ['{collector.url}']\nmemory = 1048576\n"
            f"spool = '{tmp_path / 'spool'}'\n{more}"
        )
        words = ["ip", "netns", "exec", place.name]
        with RunningAgent(tmp_path, ["--config", config], words, place.socket) as agent:
            sender = Sender(place.socket(), ("127.0.0.1", 5060), pause=0.002, size=400)
            sender.start()
            for seconds in (0.3, 0.5, 2.0):
                assert until(lambda: bool(collector.streams) and len(collector.streams[-1]) > 20_000, 60)
                collector.away()
                time.sleep(seconds)
                if seconds > 1:
                    assert until(lambda: agent.stats()["targets"]["out"]["spooled"] > 0)
                collector.open()
                connections = len(collector.streams)
                assert until(lambda before=connections: len(collector.streams) > before, 60), agent.text[
                    -2000:
                ]
            time.sleep(0.5)
            sent = sender.end()
            assert until(lambda: agent.stats()["total"]["forwarded"] >= len(sent), 60)
            assert until(lambda: agent.stats()["targets"]["out"]["waiting"] == 0, 60), agent.stats()
            stats = agent.settled()
            agent.finish()
        got = collector.close()
    assert stats["targets"]["out"]["reconnects"] >= 3
    assert stats["targets"]["out"]["spooled"] > 0
    check_same([m.key for m in got], map(key_of, sent), f"{stats['targets']}")


def tls_files(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return the server's context, and the settings of a target that checks it."""
    need("openssl")
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", folder / "c.pem", "-keyout", folder / "k.pem"]
    subprocess.run([*words, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "c.pem", folder / "k.pem")
    return context, f"ca = '{folder / 'c.pem'}'\n"


def test_frames_and_messages_without_any_target_to_reach(
    place: Namespace, tmp_path: Path, plan: Path
) -> None:
    """Nobody listens: what was sent is counted as lost, and capture goes on."""
    with live(place, tmp_path, "--plan", plan, "--to", "udp://127.0.0.1:9") as agent:
        for _ in range(10):
            send(place, [sip("n")])
            time.sleep(0.05)
        assert until(lambda: agent.stats()["total"]["forwarded"] == 10)
        assert until(lambda: agent.stats()["targets"]["hepsocket"]["waiting"] == 0)
        agent.settled()
        agent.finish()


def test_the_output_of_a_run_is_what_people_read(place: Namespace, tmp_path: Path, plan: Path) -> None:
    with live(place, tmp_path, "--plan", plan, "--to", "udp://127.0.0.1:9") as agent:
        text = agent.text
        assert "agent is capturing" in text
        assert "sip:lo" in text
        assert "hepsocket: udp://127.0.0.1:9" in text
        status = agent.text_of("/status")
        assert '"profiles"' in status
        agent.finish()


def test_without_rights_it_says_what_to_do() -> None:
    need("setpriv")
    if os.geteuid() != 0:
        pytest.skip("not root: this is how everybody starts it")
    without = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]
    words = [*without, *HEPCAT, "agent", "--dev", "lo", *TO]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no right to capture on lo" in done.stderr, done.stderr[-2000:]
    assert "CAP_NET_RAW" in done.stderr
    assert "Traceback" not in done.stderr
