"""`hepcat serve` as a process: its doors, its signals, its errors."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from hepcat.errors import HepcatError
from hepcat.pipeline.privileges import become, make_data_folder
from hepcat.sources.listen import open_tcp, open_udp, probe_udp
from hepcat.stores.lake import Lake
from tests.control.peers import open_folder
from tests.serve.peers import hep3, invite
from tests.support import HEPCAT, ROOT, Server, free_port, hepcat, wait_for

SECRET = "a-very-secret-key-4711"


def send(port: int, *datagrams: bytes) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, ("127.0.0.1", port))


def get(server: Server, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}{path}", timeout=60) as answer:
        return str(answer.read().decode())


def lake(server: Server, query: str) -> list[tuple[Any, ...]]:
    with Lake(server.data) as lake, lake.snapshot() as moment:
        return moment.connection.sql(query).fetchall()


def test_doors_show_the_same_numbers(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        send(server.port, *(hep3(invite(i)) for i in range(200)), b"nonsense")
        with socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(b"".join(hep3(invite(f"tcp{i}")) for i in range(100)))
            wait_for(lambda: server.total("hepcat_stored_total") == 300)
            metrics = server.metrics()
        assert server.total("hepcat_received_total") == 301
        assert metrics[f'hepcat_received_total{{source="udp://127.0.0.1:{server.port}"}}'] == 201
        assert (
            metrics[f'hepcat_dropped_total{{reason="hep_magic",source="udp://127.0.0.1:{server.port}"}}'] == 1
        )
        assert metrics['hepcat_agent_messages_total{node_id="7"}'] == 300
        assert metrics["hepcat_store_up"] == 1
        assert metrics["hepcat_in_flight"] == 0
        stats = json.loads(get(server, "/stats"))["total"]
        assert (stats["received"], stats["stored"], stats["dropped"]) == (301, 300, {"hep_magic": 1})
        assert json.loads(get(server, "/status"))["storing"] is True
        assert get(server, "/healthz") == "ok\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(server, "/other")
        said = server.log.read_text()
        assert "hepcat search" in said, "what to type next"
        assert "receive buffer" in said
        assert server.stop(signal.SIGINT) == 0
    last = [json.loads(line) for line in server.log.read_text().splitlines() if '"counters"' in line][-1]
    assert (last["received"], last["stored"], last["dropped"]) == (301, 300, 1)
    assert "Traceback" not in server.log.read_text()


def test_the_default_is_loopback_only(tmp_path: Path) -> None:
    for kind, port in ((socket.SOCK_DGRAM, 9060), (socket.SOCK_STREAM, 9060), (socket.SOCK_STREAM, 9080)):
        with socket.socket(type=kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"port {port} is taken on this machine")
    process = subprocess.Popen(
        [*HEPCAT, "serve", "--data", str(tmp_path / "d")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        head = [process.stdout.readline().strip() for _ in range(3)]
        assert head[1:] == ["udp://127.0.0.1:9060", "tcp://127.0.0.1:9060"]
        inodes = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
        for table in ("udp", "tcp", "udp6", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                local, inode = line.split()[1], line.split()[9]
                if f"socket:[{inode}]" in inodes:
                    # 127.0.0.1, HEP's port 9060 and the page's 9080
                    assert local in ("0100007F:2364", "0100007F:2378"), f"{table} {local}"
    finally:
        process.terminate()
        assert process.wait(120) == 0


def test_stop_under_load_loses_nothing_read(tmp_path: Path) -> None:
    ended = threading.Event()

    def load(port: int) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            count = 0
            while not ended.is_set():
                for _ in range(100):
                    sock.sendto(hep3(invite(count)), ("127.0.0.1", port))
                    count += 1
                time.sleep(0.005)

    with Server(tmp_path) as server:
        sender = threading.Thread(target=load, args=(server.port,))
        sender.start()
        wait_for(lambda: server.total("hepcat_stored_total") > 5000)
        code = server.stop()
        ended.set()
        sender.join()
    assert code == 0
    last = [json.loads(line) for line in server.log.read_text().splitlines() if '"final": true' in line][-1]
    drops = sum(count for name, count in last.items() if name.startswith("drop_"))
    assert last["in_flight"] == 0
    assert last["received"] == last["stored"] + drops
    assert drops == last.get("drop_kernel", 0), "nothing that was read is dropped"
    assert lake(server, "select count(*) from sip") == [(last["stored"],)]


def test_keys_name_their_agents_and_stay_secret(tmp_path: Path) -> None:
    key_file = tmp_path / "proxy.key"
    key_file.write_text(f"{SECRET}\n")
    config = tmp_path / "hepcat.toml"
    config.write_text(
        f'[[hep.keys]]\nname = "proxy"\nkey_file = "{key_file}"\n'
        f'[[hep.keys]]\nname = "edge"\nkey_env = "EDGE_KEY"\n'
    )
    environment = {"EDGE_KEY": SECRET + "-edge"}
    with Server(tmp_path, "--config", str(config), environment=environment) as server:
        send(server.port, hep3(invite("a"), key=SECRET.encode()), hep3(invite("b"), key=b"wrong"))
        send(server.port, hep3(invite("c")), hep3(invite("d"), key=SECRET.encode() + b"-edge"))
        wait_for(lambda: server.total("hepcat_received_total") == 4)
        wait_for(lambda: server.total("hepcat_stored_total") == 2)
        drops = f'hepcat_dropped_total{{reason="auth",source="udp://127.0.0.1:{server.port}"}}'
        assert server.metrics()[drops] == 2
        seen = get(server, "/metrics") + get(server, "/status") + get(server, "/stats")

        key_file.write_text("another\n")
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration reloaded" in server.log.read_text())
        send(server.port, hep3(invite("e"), key=b"another"), hep3(invite("f"), key=SECRET.encode()))
        wait_for(lambda: server.metrics()[drops] == 3)

        key_file.unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "not reloaded" in server.log.read_text())
        send(server.port, hep3(invite("g"), key=b"another"))
        wait_for(lambda: server.total("hepcat_stored_total") == 4)
        cmdline = Path(f"/proc/{server.process.pid}/cmdline").read_text()
        assert server.stop() == 0
    assert dict(lake(server, "select call_id, node_name from sip")) == {
        "a": "proxy",
        "d": "edge",
        "e": "proxy",
        "g": "proxy",
    }
    for text in (seen, cmdline, server.log.read_text()):
        assert SECRET not in text


def test_reload_of_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "hepcat.toml"
    config.write_text('extra_headers = ["X-Room"]\n')
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    systemd.settimeout(60)
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with systemd, Server(tmp_path, "--config", str(config), environment=environment) as server:
        assert server.process is not None
        assert systemd.recv(200).startswith(b"READY=1")
        config.write_text('extra_headers = ["X-Hall"]\n[hep]\nworkers = "many"\n')
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: f"{config}:3: hep.workers: has to be a whole number" in server.log.read_text())
        assert systemd.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert systemd.recv(200) == b"READY=1"
        message = invite("a").replace(b"CSeq", b"X-Room: blue\r\nX-Hall: red\r\nCSeq")
        send(server.port, hep3(message))
        wait_for(lambda: server.total("hepcat_stored_total") == 1)
        config.write_text('extra_headers = ["X-Hall"]\n[hep]\nworkers = 2\n[lake]\nretention_days = 9\n')
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration reloaded" in server.log.read_text())
        wait_for(lambda: "only with a restart" in server.log.read_text())
        assert '"settings": ["hep.workers"]' in server.log.read_text(), "retention changes while running"
        send(server.port, hep3(message.replace(b"Call-ID: a", b"Call-ID: b")))
        wait_for(lambda: server.total("hepcat_stored_total") == 2)
        assert server.stop() == 0
    assert dict(lake(server, "select call_id, extra from sip")) == {
        "a": {"X-Room": "blue"},
        "b": {"X-Hall": "red"},
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_is_given_up_for_good() -> None:
    with open_folder() as folder:
        root_is_given_up(folder)


def root_is_given_up(folder: Path) -> None:
    config = folder / "hepcat.toml"
    config.write_text('user = "nobody"\n')
    with Server(folder, "--config", str(config)) as server:
        assert server.process is not None
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert {fields[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
        assert fields["NoNewPrivs"] == "1"
        send(server.port, hep3(invite("a")))
        wait_for(lambda: server.total("hepcat_stored_total") == 1)
        assert server.stop() == 0


def test_files_are_for_their_owner_and_group(tmp_path: Path) -> None:
    with Server(tmp_path, environment={"HEPCAT_LAKE_JOURNAL_ROWS": "10"}) as server:
        send(server.port, *(hep3(invite(i)) for i in range(50)))
        wait_for(lambda: server.total("hepcat_stored_total") == 50)
        assert server.stop() == 0
    made = [server.data, *server.data.rglob("*")]
    assert any(path.suffix == ".parquet" for path in made)
    for path in made:
        assert path.stat().st_mode & 0o027 == 0, f"{path}: {path.stat().st_mode:o}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_the_folders_made_for_a_user_can_be_entered(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        make_data_folder(tmp_path / "a" / "b" / "lake", "nobody")
    finally:
        os.umask(mask)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "lake"):
        assert path.owner() == "nobody"


def fails(*arguments: str, **environment: str) -> str:
    """Run `hepcat serve`, which has to end with exit code 1 or 2 and a message without a traceback."""
    done = subprocess.run(
        [*HEPCAT, "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_errors_of_listeners(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "d"))
    with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        taken, taken_tcp = udp.getsockname()[1], tcp.getsockname()[1]
        said = fails(*data, "--hep", f"udp://127.0.0.1:{taken}")
        assert f"cannot listen on udp://127.0.0.1:{taken}: Address already in use" in said
        assert "choose another port" in said
        with pytest.raises(HepcatError, match="Address already in use"):
            probe_udp("127.0.0.1", taken)
        with pytest.raises(HepcatError, match="cannot listen on tcp://"):
            open_tcp("127.0.0.1", taken_tcp, "tcp")
        with pytest.raises(HepcatError, match="cannot listen on udp://") as caught:
            open_udp("192.0.2.77", 9060, shared=False)
        assert "No address of this machine" in caught.value.hint
        hep = ("--hep", f"udp://127.0.0.1:{free_port()}")
        assert "--http" in fails(*data, *hep, "--http", f"127.0.0.1:{taken_tcp}")
    said = fails(*data, "--hep", "udp://example.org:9060")
    assert said.startswith('hepcat: --hep: hep.listen[0]: "example.org" is not an IP address')
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "d").exists(), "nothing is made before all is well"


def test_errors_of_the_lake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(HepcatError, match="cannot make the lake's folder"):
        make_data_folder(tmp_path / "file" / "d", None)
    with pytest.raises(HepcatError, match="it is a file, not a folder"):
        make_data_folder(tmp_path / "file", None)
    with pytest.raises(HepcatError, match="there is no user no-such-user"):
        become("no-such-user")
    with Server(tmp_path) as server:
        said = fails("--hep", f"udp://127.0.0.1:{free_port()}", "--data", str(server.data))
        assert "another hepcat server" in said
        assert "--data" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_folder_of_somebody_else() -> None:
    with open_folder() as folder:
        (folder / "d").mkdir(mode=0o700)
        hep = ("--hep", f"udp://127.0.0.1:{free_port()}")
        said = fails(*hep, "--data", str(folder / "d"), HEPCAT_USER="nobody")
    assert "cannot write to the lake's folder" in said
    assert "runs as nobody" in said


def test_the_unit_and_the_example(tmp_path: Path) -> None:
    example = ROOT / "packaging" / "hepcat.toml"
    assert hepcat("check-config", str(example)).stdout.startswith("ok")
    unit = (ROOT / "packaging" / "hepcat.service").read_text()
    for line in (
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "StateDirectory=hepcat",
        "CapabilityBoundingSet=",
    ):
        assert line in unit
    assert "DynamicUser=yes" in unit
    page = (ROOT / "docs" / "install.md").read_text()
    mode = re.search(r"install -m (\d+) packaging/hepcat\.toml /etc/hepcat/hepcat\.toml", page)
    assert mode is not None
    assert int(mode[1], 8) & 0o004, "the unit's account is neither root nor in root's group"
    # What root alone may read gets to the service as a credential: page, example and unit name the same ones.
    credentials = set(re.findall(r"^#?LoadCredential=([^:]+):/etc/hepcat/", unit, re.MULTILINE))
    secrets = {
        re.findall(rf'^#{name} = "(.*)"$', example.read_text(), re.MULTILINE)[0]
        for name in ("key", "key_file", "url_file")
    }
    assert secrets == {f"/run/credentials/hepcat.service/{name}" for name in credentials}
    assert all(name in page for name in credentials)
    command: Any = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert command.endswith("serve --config /etc/hepcat/hepcat.toml")


def test_the_drop_in_for_raw_modes() -> None:
    """It gives what a raw socket and a packet socket take, and page and unit name it."""
    drop_in = (ROOT / "packaging" / "raw.conf").read_text()
    for name in ("AmbientCapabilities", "CapabilityBoundingSet"):
        assert f"\n{name}=CAP_NET_RAW\n" in drop_in
    assert "\nRestrictAddressFamilies=AF_PACKET AF_NETLINK\n" in drop_in
    place = "/etc/systemd/system/hepcat.service.d/raw.conf"
    assert place in drop_in
    assert f"packaging/raw.conf {place}" in (ROOT / "docs" / "install.md").read_text()
